//! A call as the calls see it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::header::HeaderMap;
use hyper::http::request::Parts;

use super::Edge;
use super::framing::Heads;
use super::problem::Problem;
use super::routes::Route;
use super::trust::callers::Known;
use crate::domain::commands::reply::Reply;
use crate::domain::model::ids::CustomerId;

/// A call that came whole, and whose caller is known and may make it.
pub(crate) struct Asked {
    pub(crate) edge: Arc<Edge>,
    pub(super) route: &'static Route,
    /// Of the path, by their names.
    pub(super) params: Vec<(String, String)>,
    /// `None` for calls that anybody may make.
    pub(crate) known: Option<Arc<Known>>,
    /// When its head was complete; monotonic.
    pub(crate) received: Instant,
    pub(super) head: Parts,
    /// The connection of a call that ends with it.
    pub(crate) heads: Option<Heads>,
    pub(crate) body: Bytes,
}

impl Asked {
    /// Ends when the caller has said all or is gone, if that can be told. A long poll ends with it.
    pub(crate) async fn is_done_speaking(&self) {
        match &self.heads {
            Some(heads) => heads.is_done_speaking().await,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.head.uri.query()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// A parameter of the path; the template has it.
    pub(crate) fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(other, _)| other == name);
        found.map_or("", |(_, value)| value)
    }

    /// The customer that the path names.
    pub(crate) fn customer(&self) -> Result<CustomerId, Problem> {
        let name = "customer_id";
        CustomerId::new(self.param(name)).map_err(|bad| Problem::parameter(name, bad.to_string()))
    }

    /// The caller of a call that needs one.
    pub(crate) fn known(&self) -> Result<&Known, Problem> {
        self.known.as_deref().ok_or_else(|| Problem::unauthorized(false))
    }
}

/// A reply that its question cannot have.
pub(crate) fn out_of_place(reply: &Reply) -> Problem {
    match reply {
        // Before a policy is in force the engine knows nothing at all.
        Reply::Unknown => Problem::not_ready(),
        _ => Problem::internal(),
    }
}
