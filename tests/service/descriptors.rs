//! A crowd of idle sockets against the limit of open files.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::damage::{buy, fill_segments, house, segments};
use super::server::{Client, How, Server};

/// The test needs files too: its side of each socket.
fn raise_own_limit(needed: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < needed) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).expect("the hard limit allows it");
    }
}

fn crowd(at: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(at).expect("the kernel accepts it")).collect()
}

const LINES: &str = "[journal]\nsegment_mib = 1\n[server]\nmax_connections_per_ip = 4096\n";

#[test]
fn a_soft_limit_is_raised_and_idle_sockets_never_end_the_process_at_the_next_segment() {
    raise_own_limit(4_096);
    let (folder, data, config) = house(LINES);
    let how = How::with(&["--config", &config, "--admin", "127.0.0.1:0"]).logging_to(&folder.path().join("log"));
    let mut server = Server::start(&data, how.through(&["prlimit", "--nofile=1024:8192"]));
    let idle = crowd(server.http, 1_100);
    fill_segments(&server, server.admin, 3);
    assert_eq!(buy(&server, "F-1")["decision"], "approved");
    assert_eq!(Client::to(server.admin.expect("an admin address")).get("ops", "/readyz").status, 200);
    assert!(!server.said().contains("fewer connections"), "{}", server.said());
    drop(idle);
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(6)).code(), Some(0), "{}", server.said());
}

#[test]
fn below_a_low_hard_limit_connections_are_capped_and_staff_still_get_in() {
    raise_own_limit(4_096);
    let (folder, data, config) = house(LINES);
    let how = How::with(&["--config", &config, "--admin", "127.0.0.1:0"]).logging_to(&folder.path().join("log"));
    let server = Server::start(&data, how.through(&["prlimit", "--nofile=256:512"]));
    let said = server.said();
    let line = said.lines().find(|line| line.contains("fewer connections")).expect("a warning");
    assert!(line.contains("4096") && line.contains("\"most\":"), "both numbers: {line}");
    // One that was there before keeps its place.
    let mut client = server.client();
    assert_eq!(client.get("ops", "/readyz").status, 200);
    let idle = crowd(server.http, 600);
    let admin = server.admin.expect("an admin address");
    let staff = crowd(admin, 200);
    fill_segments(&server, Some(admin), 3);
    assert_eq!(Client::to(admin).get("ops", "/readyz").status, 200);
    assert_eq!(client.get("ops", "/readyz").status, 200);
    assert!(segments(&data).len() >= 3);
    drop((idle, staff));
    assert_eq!(buy(&server, "F-1")["decision"], "approved");
}

#[test]
fn a_hard_limit_too_low_for_any_service_is_78() {
    let (_folder, data, config) = house(LINES);
    let how = How::with(&["--config", &config, "--admin", "127.0.0.1:0"]);
    let output =
        how.through(&["timeout", "30", "prlimit", "--nofile=300:300"]).command(&data).output().expect("the binary");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("300") && said.contains("ulimit -Hn"), "{said}");
}
