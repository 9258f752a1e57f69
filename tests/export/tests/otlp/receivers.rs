//! A host that posts requests by HTTP, and receivers that fail.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use plugmeter::Window;
use plugmeter::otlp::{Delivery, Encoder, Request};
use plugmeter::testing::Simulation;
use prost::Message as _;
use ureq::Agent;

use crate::decoded::{Decoded, all, values};
use crate::{encoder, running, usage};

/// What a receiver does with a connection.
#[derive(Clone)]
enum Behavior {
    /// Closes it.
    Closes,
    /// Reads the request and never responds.
    IsSilent,
    Responds(u16, Vec<u8>),
}

/// Accepts one connection for each behavior, and then none. Sends the bodies it has responded to.
fn receiver(behaviors: Vec<Behavior>) -> (SocketAddr, Receiver<(u16, Vec<u8>)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, bodies) = channel();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for behavior in behaviors {
            let (stream, _) = listener.accept().unwrap();
            if let Behavior::Closes = behavior {
                continue;
            }
            let mut request = BufReader::new(&stream);
            let (mut length, mut line) = (0, String::new());
            request.read_line(&mut line).unwrap();
            assert_eq!(line, "POST /v1/metrics HTTP/1.1\r\n");
            loop {
                line.clear();
                request.read_line(&mut line).unwrap();
                let Some((name, value)) = line.trim_end().split_once(": ") else { break };
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse().unwrap(),
                    "content-type" => assert_eq!(value, "application/x-protobuf"),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            request.read_exact(&mut body).unwrap();
            match behavior {
                Behavior::Closes => {}
                Behavior::IsSilent => silent.push(stream),
                Behavior::Responds(status, answer) => {
                    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
                    let length = answer.len();
                    write!(&stream, "{head}Content-Length: {length}\r\n\r\n").unwrap();
                    (&stream).write_all(&answer).unwrap();
                    sender.send((status, body)).unwrap();
                }
            }
        }
    });
    (address, bodies)
}

/// Posts a request as a host does.
fn post(agent: &Agent, address: SocketAddr, request: &Request) -> Delivery {
    let post = agent.post(format!("http://{address}/v1/metrics"));
    let sent = post.header("Content-Type", request.content_type()).send(request.body());
    let response = sent.and_then(|mut response| {
        Ok((response.status().as_u16(), response.body_mut().read_to_vec()?))
    });
    match response {
        Ok((status, body)) => Delivery::of_response(status, &body),
        Err(_) => Delivery::RetryLater,
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_millis(500))).build().into()
}

/// One tick, and one attempt to post what there is.
fn tick_and_post(
    sim: &mut Simulation,
    encoder: &mut Encoder,
    (agent, address): (&Agent, SocketAddr),
) -> Delivery {
    sim.tick(|pid| usage(u64::from(pid), 1 << 20));
    let request = encoder.encode(&sim.snapshot()).unwrap();
    let delivery = post(agent, address, &request);
    if delivery != Delivery::RetryLater {
        encoder.acknowledge(request);
    }
    delivery
}

#[test]
fn failing_receiver_loses_no_tick() {
    let (mut sim, _plugins) = running(&["dice", "poll"]);
    let mut encoder = encoder();
    let agent = agent();
    // Nobody listens.
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let retry = Delivery::RetryLater;
    assert_eq!(tick_and_post(&mut sim, &mut encoder, (&agent, unused)), retry);
    let (address, bodies) = receiver(vec![
        Behavior::Closes,
        Behavior::IsSilent,
        Behavior::Responds(503, b"busy".to_vec()),
        Behavior::Responds(429, Vec::new()),
        Behavior::Responds(200, Vec::new()),
        Behavior::Responds(200, Vec::new()),
    ]);
    for _ in 0..4 {
        assert_eq!(tick_and_post(&mut sim, &mut encoder, (&agent, address)), retry);
    }
    for _ in 0..2 {
        let delivery = tick_and_post(&mut sim, &mut encoder, (&agent, address));
        assert_eq!(delivery, Delivery::Accepted);
    }
    let accepted = bodies.iter().filter(|(status, _)| *status == 200);
    let accepted: Vec<_> = accepted.map(|(_, body)| Decoded::of(&body)).collect();
    let snapshot = sim.snapshot();
    for view in snapshot.plugins() {
        let history = view.history(Window::All);
        let times: Vec<_> = history.map(|sample| sample.timestamp).collect();
        assert_eq!(times.len(), 7);
        let up = values(&all(&accepted), "plugin.up", view.name());
        assert_eq!(up.into_iter().map(|(time, _)| time).collect::<Vec<_>>(), times);
    }
}

/// The specification forbids to repeat such requests.
#[test]
fn refused_and_partly_rejected_requests_are_not_repeated() {
    let (mut sim, _plugins) = running(&["dice"]);
    let mut encoder = encoder();
    let partial_success = Some(ExportMetricsPartialSuccess {
        rejected_data_points: 2,
        error_message: "out of order".to_owned(),
    });
    let partial = ExportMetricsServiceResponse { partial_success }.encode_to_vec();
    let (address, bodies) = receiver(vec![
        Behavior::Responds(400, b"no".to_vec()),
        Behavior::Responds(500, Vec::new()),
        Behavior::Responds(200, partial),
        Behavior::Responds(200, Vec::new()),
    ]);
    let agent = agent();
    let mut deliveries = Vec::new();
    for _ in 0..4 {
        deliveries.push(tick_and_post(&mut sim, &mut encoder, (&agent, address)));
    }
    let rejected = Delivery::PartlyRejected { points: 2, message: "out of order".to_owned() };
    let expected = [Delivery::Refused, Delivery::Refused, rejected, Delivery::Accepted];
    assert_eq!(deliveries, expected);
    let times: Vec<_> = bodies.iter().map(|(_, body)| Decoded::of(&body).times()).collect();
    assert!(times.iter().all(|times| times.len() == 1));
    assert_eq!(times.iter().flatten().collect::<BTreeSet<_>>().len(), 4);
}
