//! Behind nginx and Caddy, which serve the plugins under the path `/plugins/`, with the settings of
//! the README.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plugmeter::http::HttpConfig;
use plugmeter_http_tests::{get, get_with_headers, serve};
use plugmeter_test_support::{ChildGuard, report_missing, wait_for};

use super::base_path::follow_links;
use super::compression::{DOCUMENTS, GZIP, decode, full};

/// The path of the pages at the proxy.
const ROOT: &str = "/plugins/";

/// A program that proxies the path to a server. It is killed on drop.
struct Proxy {
    _process: ChildGuard,
    address: SocketAddr,
}

/// The kinds of proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Nginx,
    Caddy,
}

impl Program {
    /// The command, or `None` if the program is not installed, which is reported.
    fn command(self, test: &str) -> Option<Command> {
        // Administrative programs are not on the path of every user.
        let (programs, version) = match self {
            Self::Nginx => (["nginx", "/usr/sbin/nginx"], "-v"),
            Self::Caddy => (["caddy", "/usr/bin/caddy"], "version"),
        };
        let is_installed = |program: &&str| {
            let mut command = Command::new(program);
            command.arg(version).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let found = programs.into_iter().find(is_installed);
        if found.is_none() {
            report_missing(&format!("there is no {}", programs[0]), test);
        }
        found.map(Command::new)
    }

    /// The configuration file of a site with these directives.
    fn config(self, listen: SocketAddr, site: &str, folder: &Path) -> String {
        let port = listen.port();
        let folder = folder.display();
        match self {
            // In one process, which leaves no worker behind when it is killed.
            Self::Nginx => format!(
                "daemon off; master_process off; pid {folder}/pid; error_log stderr error;
                events {{}}
                http {{
                    access_log off;
                    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
                    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
                    scgi_temp_path {folder}/scgi;
                    server {{ listen {listen};\n{site} }}
                }}"
            ),
            Self::Caddy => {
                format!("{{\nadmin off\n}}\nhttp://:{port} {{\nbind {}\n{site}\n}}\n", listen.ip())
            }
        }
    }

    /// Starts the program with these directives, and waits until it accepts connections.
    fn start(self, test: &str, site: &str) -> Option<Proxy> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        loop {
            let command = self.command(test)?;
            if let Some(proxy) = self.start_on_free_port(command, site, &folder) {
                return Some(proxy);
            }
        }
    }

    /// `None` if another program has taken the port since it was free.
    fn start_on_free_port(self, mut command: Command, site: &str, folder: &Path) -> Option<Proxy> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let file = folder.join("config");
        fs::write(&file, self.config(address, site, folder)).unwrap();
        match self {
            Self::Nginx => command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(file),
            Self::Caddy => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file),
        };
        // Caddy writes its state there.
        for name in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(name, folder);
        }
        let errors: PathBuf = folder.join("errors");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(&errors).unwrap());
        let mut process = ChildGuard(command.spawn().unwrap());
        let is_started = wait_for(&format!("{self:?} to accept connections"), || {
            if let Some(status) = process.0.try_wait().unwrap() {
                let errors = fs::read_to_string(&errors).unwrap();
                assert!(errors.contains("ddress already in use"), "{self:?}, {status}: {errors}");
                return Some(false);
            }
            TcpStream::connect(address).is_ok().then_some(true)
        });
        is_started.then_some(Proxy { _process: process, address })
    }
}

/// Serves the plugins with `base_path` behind the program, whose directives `site` returns for the
/// server's address, and checks everything that a browser or a client requests.
#[track_caller]
fn check(test: &str, program: Program, base_path: &str, site: impl Fn(SocketAddr) -> String) {
    let sim = full(20, 30);
    let (_server, server) = serve(sim.reader(), HttpConfig::default().base_path(base_path));
    let Some(running) = program.start(test, &site(server)) else { return };
    let proxy = running.address;

    let link = if base_path.is_empty() { "./" } else { ROOT };
    let visited = follow_links(proxy, ROOT, link);
    for name in ["page.css", "page.js", "favicon.svg", "page/rows", "plugin?name=plugin%207"] {
        assert!(visited.contains(&format!("{ROOT}{name}")), "{name}: {visited:?}");
    }
    assert!(visited.len() > 20, "{visited:?}");
    let document = get(proxy, "/plugins/api/metrics").json();
    assert_eq!(document["plugins"].as_array().unwrap().len(), 20);
    assert_eq!(get(proxy, "/plugins/health").status, 200);
    assert_eq!(get(proxy, "/plugins/nothing").status, 404);

    let bare = get(proxy, "/plugins");
    assert!([302, 307].contains(&bare.status), "{}", bare.status);
    let location = bare.header("location").unwrap();
    let path = location.strip_prefix(&format!("http://{proxy}")).unwrap_or(&location);
    assert_eq!(path, ROOT, "{location}");

    for (target, accept) in DOCUMENTS {
        let accept = format!("Accept: {accept}");
        let path = target.trim_start_matches('/');
        let direct = if base_path.is_empty() { "/" } else { ROOT };
        let direct =
            |headers: &[&str]| get_with_headers(server, &format!("{direct}{path}"), headers);
        let proxied = |headers: &[&str]| get_with_headers(proxy, &format!("{ROOT}{path}"), headers);

        let identity = direct(&[&accept]).body;
        for headers in [&[&accept[..]][..], &[&accept, "Accept-Encoding: identity"]] {
            let response = proxied(headers);
            assert_eq!((response.status, response.header("content-encoding")), (200, None));
            assert!(response.body == identity, "{target}: the documents differ");
        }
        let (expected, gzip) = (direct(&[&accept, GZIP]), proxied(&[&accept, GZIP]));
        assert!(decode(&gzip) == identity, "{target}: the decoded documents differ");
        assert!(gzip.body == expected.body, "{target}: the compressed bytes differ");
        for name in ["content-type", "cache-control", "vary"] {
            assert_eq!(gzip.header(name), expected.header(name), "{target}: {name}");
        }
    }
}

const NGINX_REDIRECT: &str = "location = /plugins { return 307 /plugins/; }";

#[test]
fn nginx_removes_prefix() {
    check("nginx_removes_prefix", Program::Nginx, "", |server| {
        format!(
            "{NGINX_REDIRECT} location /plugins/ {{ proxy_pass http://{server}/; \
             proxy_set_header Host $host; }}"
        )
    });
}

/// With one slash too many, and without the client's host.
#[test]
fn nginx_removes_prefix_but_one_slash() {
    check("nginx_removes_prefix_but_one_slash", Program::Nginx, "", |server| {
        format!("{NGINX_REDIRECT} location /plugins/ {{ proxy_pass http://{server}//; }}")
    });
}

#[test]
fn nginx_keeps_prefix() {
    check("nginx_keeps_prefix", Program::Nginx, "/plugins", |server| {
        format!("location /plugins {{ proxy_pass http://{server}; proxy_set_header Host $host; }}")
    });
}

#[test]
fn nginx_keeps_prefix_after_two_slashes() {
    check("nginx_keeps_prefix_after_two_slashes", Program::Nginx, "/plugins", |server| {
        format!("location /plugins {{ proxy_pass http://{server}//plugins; }}")
    });
}

/// nginx compresses by itself what the server has not compressed.
#[test]
fn nginx_with_gzip_passes_gzip_on() {
    check("nginx_with_gzip_passes_gzip_on", Program::Nginx, "/plugins", |server| {
        format!(
            "gzip on; gzip_proxied any; gzip_types *; \
             location /plugins {{ proxy_pass http://{server}; proxy_set_header Host $host; }}"
        )
    });
}

#[test]
fn caddy_removes_prefix() {
    check("caddy_removes_prefix", Program::Caddy, "", |server| {
        format!("redir /plugins /plugins/\nhandle_path /plugins/* {{\nreverse_proxy {server}\n}}")
    });
}

#[test]
fn caddy_keeps_prefix() {
    check("caddy_keeps_prefix", Program::Caddy, "/plugins", |server| {
        format!("reverse_proxy /plugins* {server}")
    });
}

#[test]
fn caddy_with_gzip_passes_gzip_on() {
    check("caddy_with_gzip_passes_gzip_on", Program::Caddy, "/plugins", |server| {
        format!("encode gzip\nreverse_proxy /plugins* {server}")
    });
}
