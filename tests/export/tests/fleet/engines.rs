//! The engines: processes that are killed on drop, and their APIs.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use plugmeter_test_support::{ChildGuard, report_missing};
use serde_json::Value;
use ureq::Agent;

/// Returns whether all engines are installed. Reports missing ones.
#[track_caller]
pub(crate) fn has_engines() -> bool {
    let is_missing = |program: &&str| {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        !command.status().is_ok_and(|status| status.success())
    };
    let programs = ["prometheus", "victoria-metrics", "vmagent", "vmalert"];
    let missing: Vec<_> = programs.into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        let reason = format!("{} are missing", missing.join(", "));
        report_missing(&reason, "a fleet in Prometheus and VictoriaMetrics");
    }
    missing.is_empty()
}

/// One series of an answer, with its newest value.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

pub(crate) struct Engine {
    pub(crate) name: &'static str,
    address: SocketAddr,
    agent: Agent,
    _process: ChildGuard,
}

fn folder_of(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

impl Engine {
    /// Starts a program whose arguments are made from its address.
    fn start(
        name: &'static str,
        folder: &Path,
        args: impl FnOnce(SocketAddr) -> Vec<String>,
    ) -> Self {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let log = File::create(folder.join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(name);
        command.args(args(address)).current_dir(folder).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let process = ChildGuard(command.spawn().unwrap());
        let config = Agent::config_builder().http_status_as_error(false);
        let agent = config.timeout_global(Some(Duration::from_secs(10))).build().into();
        Self { name, address, agent, _process: process }
    }

    pub(crate) fn prometheus(folder: &Path) -> Self {
        Self::start("prometheus", folder, |address| {
            vec![
                format!("--config.file={}", folder_of(folder, "prometheus.yml")),
                format!("--storage.tsdb.path={}", folder_of(folder, "prometheus")),
                format!("--web.listen-address={address}"),
            ]
        })
    }

    pub(crate) fn victoria_metrics(folder: &Path) -> Self {
        Self::start("victoria-metrics", folder, |address| {
            vec![
                format!("-httpListenAddr={address}"),
                format!("-storageDataPath={}", folder_of(folder, "victoria")),
                "-opentelemetry.usePrometheusNaming".into(),
                "-memory.allowedBytes=256MiB".into(),
                "-selfScrapeInterval=0".into(),
                // Otherwise the last 30 s are hidden from queries.
                "-search.latencyOffset=1ms".into(),
                "-inmemoryDataFlushInterval=1s".into(),
            ]
        })
    }

    /// Scrapes, and writes to a store.
    pub(crate) fn vmagent(folder: &Path, store: &Self) -> Self {
        Self::start("vmagent", folder, |address| {
            vec![
                format!("-httpListenAddr={address}"),
                format!("-promscrape.config={}", folder_of(folder, "prometheus.yml")),
                "-promscrape.config.strictParse=false".into(),
                format!("-remoteWrite.url={}", store.url("/api/v1/write")),
                format!("-remoteWrite.tmpDataPath={}", folder_of(folder, "vmagent")),
                "-memory.allowedBytes=128MiB".into(),
            ]
        })
    }

    /// Evaluates the rules in a store.
    pub(crate) fn vmalert(folder: &Path, store: &Self) -> Self {
        Self::start("vmalert", folder, |address| {
            vec![
                format!("-httpListenAddr={address}"),
                format!("-rule={}", folder_of(folder, "recording.yml")),
                format!("-rule={}", folder_of(folder, "alerts.yml")),
                format!("-datasource.url={}", store.url("")),
                format!("-remoteWrite.url={}", store.url("")),
                "-notifier.blackhole".into(),
                "-evaluationInterval=1s".into(),
                "-rule.evalDelay=0s".into(),
            ]
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The data of an answer; `None` while the engine does not respond.
    ///
    /// # Panics
    ///
    /// If the answer is an error.
    #[track_caller]
    pub(crate) fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let request = self.agent.get(self.url(path)).query_pairs(parameters.iter().copied());
        let mut response = request.call().ok()?;
        let body = response.body_mut().read_to_string().ok()?;
        // An engine that starts has an answer in plain text.
        let answer: Value = serde_json::from_str(&body).ok()?;
        assert_eq!(answer["status"], "success", "{}: {parameters:?}: {body}", self.name);
        Some(answer["data"].clone())
    }

    /// The answer to a query now.
    #[track_caller]
    pub(crate) fn query(&self, query: &str) -> Option<Vec<Series>> {
        let data = self.get("/api/v1/query", &[("query", query)])?;
        let series = data["result"].as_array()?.iter().map(|series| Series {
            labels: serde_json::from_value(series["metric"].clone()).unwrap(),
            value: series["value"][1].as_str().unwrap().parse().unwrap(),
        });
        Some(series.collect())
    }

    /// The time of the newest sample of a series in the last ten minutes.
    #[track_caller]
    pub(crate) fn newest_sample(&self, series: &str) -> Option<f64> {
        let data = self.get("/api/v1/query", &[("query", &format!("{series}[10m]"))])?;
        data["result"][0]["values"].as_array()?.last()?[0].as_f64()
    }
}
