//! How the service is: for balancers, monitors and people.

use hyper::StatusCode;
use serde::Serialize;

use crate::engine::readiness::Standby;
use crate::http::answer::Answer;
use crate::http::problem::{NOT_FOUND, Problem};
use crate::http::{Edge, OPENAPI};
use crate::metrics::{gauge_value, metrics};

#[derive(Serialize)]
struct Live {
    status: &'static str,
}

/// `GET /livez`
pub(crate) fn livez() -> Result<Answer, Problem> {
    Answer::ok(&Live { status: "ok" })
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    reasons: Vec<&'static str>,
    #[serde(flatten)]
    standby: Option<Waits>,
}

/// Of a node that another one decides for.
#[derive(Serialize)]
struct Waits {
    /// For people.
    detail: String,
    owner: Owner,
    records_behind: u64,
}

#[derive(Serialize)]
struct Owner {
    node: String,
    address: String,
}

impl Waits {
    fn of(standby: &Standby) -> Self {
        let Standby { of, address, behind, is_blind } = standby.clone();
        const BLIND: &str = "the journal's database can't be asked, the log says why";
        Self {
            detail: match (of.as_str(), is_blind) {
                ("", true) => format!("standby: {BLIND}"),
                ("", false) => format!("standby, nobody decides, {behind} records behind"),
                (of, true) => format!("standby of {of}, {behind} records behind, when it was seen last: {BLIND}"),
                (of, false) => format!("standby of {of}, {behind} records behind"),
            },
            owner: Owner { node: of, address },
            records_behind: behind,
        }
    }
}

/// `GET /readyz`
pub(crate) fn readyz(edge: &Edge) -> Result<Answer, Problem> {
    let readiness = &edge.client.readiness;
    let reasons = readiness.reasons();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let standby = readiness.standby().as_deref().map(Waits::of);
    Answer::json(status, &Ready { ready: reasons.is_empty(), reasons, standby })
}

/// `GET /metrics`
pub(crate) fn metrics_page(edge: &Edge) -> Result<Answer, Problem> {
    let handle = edge.metrics.as_ref();
    let handle = handle.ok_or_else(|| {
        Problem::new(&NOT_FOUND, "Metrics are not collected in this process. Ask a running `sokketsu serve`.")
    })?;
    metrics().inbox_depth.set(gauge_value(edge.client.inbox.depth()));
    Ok(Answer::new(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", handle.render()))
}

/// `GET /openapi.json`
pub(crate) fn openapi() -> Answer {
    Answer::new(StatusCode::OK, "application/json", OPENAPI)
}
