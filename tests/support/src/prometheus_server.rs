//! A Prometheus server that scrapes a test.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::{ChildGuard, report_missing, wait_for};

/// Returns whether a tool is installed, by a command of it that succeeds without effect. Reports a
/// missing tool.
#[track_caller]
pub fn has_tool(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let found = command.status().is_ok_and(|status| status.success());
    if !found {
        report_missing(
            &format!("`{program} {}` does not run", args.join(" ")),
            "a check of expositions by other tools",
        );
    }
    found
}

/// A Prometheus server that is killed on drop.
#[derive(Debug)]
pub struct Server {
    process: ChildGuard,
    address: SocketAddr,
}

impl Server {
    /// Starts a server that scrapes each path of the target as the job of that name.
    ///
    /// It keeps its data in `folder`, which is emptied first.
    pub fn scraping(target: SocketAddr, jobs: &[(&str, &str)], folder: &Path) -> Self {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).unwrap();
        let mut config = String::from(
            "global: { scrape_interval: 250ms, scrape_timeout: 250ms }\nscrape_configs:\n",
        );
        for (job, path) in jobs {
            writeln!(config, "- job_name: {job}\n  metrics_path: {path}").unwrap();
            writeln!(config, "  static_configs: [ targets: [ '{target}' ] ]").unwrap();
        }
        let file = folder.join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address={free}")).arg("--log.level=error");
        let process = ChildGuard(command.stdin(Stdio::null()).spawn().unwrap());
        Self { process, address: free }
    }

    /// Returns the result of a query at that time, or `None` while the server does not respond.
    pub fn query(&self, query: &str, at: SystemTime) -> Option<Vec<Value>> {
        let mut encoded = String::new();
        for byte in query.bytes() {
            write!(encoded, "%{byte:02X}").unwrap();
        }
        let time = at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let mut stream = TcpStream::connect(self.address).ok()?;
        let path = format!("/api/v1/query?query={encoded}&time={time:.3}");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        let (_, body) = response.split_once("\r\n\r\n")?;
        let body: Value = serde_json::from_str(body).ok()?;
        body["data"]["result"].as_array().cloned()
    }

    /// Returns the current values of a query.
    fn values(&self, query: &str) -> Option<Vec<f64>> {
        let number = |series: Value| series["value"][1].as_str().unwrap().parse().unwrap();
        Some(self.query(query, SystemTime::now())?.into_iter().map(number).collect())
    }

    /// Waits until a query returns exactly these values.
    #[track_caller]
    pub fn wait_for(&mut self, query: &str, expected: &[f64]) {
        wait_for(&format!("{query} is {expected:?}"), || {
            let exit = self.process.0.try_wait().unwrap();
            assert!(exit.is_none(), "the server has exited: {exit:?}");
            self.values(query).filter(|values| values == expected)
        });
    }
}
