//! The ceiling that HTTP sets on this machine: hyper, which reads a body and answers the same JSON every time.
//! `bare 1` runs on the calling thread, `bare N` on N workers. It prints where it listens, and ends with its parent's
//! signal.

use std::convert::Infallible;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// About as long as a short decision.
const ANSWER: &[u8] = br#"{"authorization_id":"aut_4r000000000fvr603v3d5zrgv2","decision":"approved","status":"captured","amount":1980,"points":9,"reason":null,"replayed":false}"#;

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_whole = request.into_body().collect().await.is_ok();
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if !is_whole {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(response)
}

async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "listens on http://{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that goes away is no error here.
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await.ok();
        });
    }
}

fn run() -> Result<()> {
    let workers = std::env::args().nth(1).context("usage: bare WORKERS")?;
    let mut runtime = match workers.parse() {
        Ok(1) => Builder::new_current_thread(),
        Ok(workers @ 2..=64_usize) => {
            let mut runtime = Builder::new_multi_thread();
            runtime.worker_threads(workers);
            runtime
        }
        _ => bail!("usage: bare WORKERS, from 1 to 64; not {workers}"),
    };
    runtime.enable_io().build()?.block_on(serve())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bare: {error:#}");
            ExitCode::from(64)
        }
    }
}
