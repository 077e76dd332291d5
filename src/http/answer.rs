//! What leaves: a status, a body whole or streamed, and the headers every answer has.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::problem::{FieldError, Problem};

/// Room for most answers without growing, bytes.
const USUAL_BODY: usize = 1_024;
/// Headers of an answer.
const USUAL_HEADERS: usize = 12;

/// An answer's body.
pub(crate) enum Body {
    Whole(Option<Bytes>),
    /// Ends when the sender is dropped; an error ends it in the middle, and the caller sees that it is not whole.
    Stream(Stream),
}

/// What a task makes while the body is being sent.
pub(crate) struct Stream {
    receiver: mpsc::Receiver<Result<Bytes, Aborted>>,
    /// The error has come, and is told at the next look.
    is_aborted: bool,
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if self.is_aborted {
            return Poll::Ready(Some(Err(Aborted)));
        }
        match self.receiver.poll_recv(cx) {
            Poll::Ready(Some(Err(Aborted))) => {
                // hyper drops what it has not sent yet when it meets an error: it is given a chance to send it before.
                self.is_aborted = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            other => other.map_ok(Frame::data),
        }
    }
}

/// The rest of a body could not be made. The connection is closed without the end that a whole body has.
#[derive(Debug, thiserror::Error)]
#[error("the rest of the body could not be made")]
pub(crate) struct Aborted;

impl Body {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }

    #[cfg(test)]
    pub(crate) fn as_whole(&self) -> Option<&[u8]> {
        match self {
            Self::Whole(bytes) => bytes.as_deref(),
            Self::Stream(_) => None,
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                let len = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(len).unwrap_or(u64::MAX))
            }
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Body,
}

impl Answer {
    pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Self, Problem> {
        let mut body = Vec::with_capacity(USUAL_BODY);
        serde_json::to_writer(&mut body, value).map_err(|_| Problem::internal())?;
        Ok(Self::new(status, "application/json", body))
    }

    pub(crate) fn ok(value: &impl Serialize) -> Result<Self, Problem> {
        Self::json(StatusCode::OK, value)
    }

    /// 201 with the place of what was made, or 200 for a change.
    pub(crate) fn put(created: bool, value: &impl Serialize) -> Result<Self, Problem> {
        Self::json(if created { StatusCode::CREATED } else { StatusCode::OK }, value)
    }

    pub(crate) fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, headers: Vec::new(), body: Body::whole(body) }
    }

    pub(crate) fn stream(content_type: &'static str, receiver: mpsc::Receiver<Result<Bytes, Aborted>>) -> Self {
        let body = Body::Stream(Stream { receiver, is_aborted: false });
        Self { status: StatusCode::OK, content_type, headers: Vec::new(), body }
    }

    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: impl Into<Bytes>) -> Self {
        if let Ok(value) = HeaderValue::from_maybe_shared(value.into()) {
            self.headers.push((name, value));
        }
        self
    }

    /// As it goes out. `close` ends the connection after it: the request's body was not read whole.
    pub(crate) fn into_response(self, request_id: HeaderValue, close: bool) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        *headers = HeaderMap::with_capacity(USUAL_HEADERS);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(HeaderName::from_static("x-request-id"), request_id);
        if close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

impl Problem {
    /// In the form of RFC 9457.
    pub(crate) fn into_answer(self) -> Answer {
        #[derive(Serialize)]
        struct Shown<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            reason: &'a str,
            #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
            errors: &'a [FieldError],
            #[serde(flatten)]
            extra: &'a Map<String, Value>,
        }
        let inner = *self.0;
        let shown = Shown {
            r#type: format!("urn:sokketsu:problem:{}", inner.reason),
            title: inner.title,
            status: inner.status,
            detail: &inner.detail,
            reason: inner.reason,
            errors: &inner.errors,
            extra: &inner.extra,
        };
        let body = serde_json::to_vec(&shown).unwrap_or_default();
        Answer {
            status: StatusCode::from_u16(inner.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            content_type: "application/problem+json",
            headers: inner.headers,
            body: Body::whole(body),
        }
    }
}
