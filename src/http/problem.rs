//! Errors of the call itself, as `application/problem+json` (RFC 9457) with a stable `reason`.
//! Each says what to do; none means that a decision was made.

use hyper::Method;
use hyper::header::{self, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::model::bilingual::Bilingual;
use crate::domain::model::bounds::Full;
use crate::domain::model::denial::Reason;
use crate::domain::model::wording::Circumstances;
use crate::engine::client::NoAnswer;
use crate::engine::readiness::Standby;

/// One row of the table of errors.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub status: u16,
    pub reason: &'static str,
    pub title: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $status:literal $reason:literal $title:literal;)*) => {
        $(pub const $name: Kind = Kind { status: $status, reason: $reason, title: $title };)*
        /// Every kind of error, as the OpenAPI file lists them.
        pub const KINDS: &[&Kind] = &[$(&$name),*];
    };
}

kinds! {
    MALFORMED = 400 "malformed" "The request cannot be read";
    UNAUTHORIZED = 401 "unauthorized" "An API key is needed";
    SIGNATURE_MISSING = 401 "signature_missing" "This key's requests must be signed";
    SIGNATURE_INVALID = 401 "signature_invalid" "The signature is not good";
    SIGNATURE_STALE = 401 "signature_stale" "The signature is not of now";
    SIGNATURE_REPLAYED = 401 "signature_replayed" "The request was seen before";
    FORBIDDEN = 403 "forbidden" "This key may not do that";
    NOT_FOUND = 404 "not_found" "There is no such call";
    AUTHORIZATION_UNKNOWN = 404 "authorization_unknown" "There is no such authorization";
    CODE_UNKNOWN = 404 "code_unknown" "There is no such code";
    PAYMENT_UNKNOWN = 404 "payment_unknown" "There is no such payment on its way";
    FREEZE_UNKNOWN = 404 "freeze_unknown" "There is no such freeze";
    BLOCK_UNKNOWN = 404 "block_unknown" "There is no such block";
    PAYOUT_UNKNOWN = 404 "payout_unknown" "There is no such payout";
    POSTING_UNKNOWN = 404 "posting_unknown" "There are no such damages";
    WRITE_OFF_UNKNOWN = 404 "write_off_unknown" "There is no such write-off";
    FEE_UNKNOWN = 404 "fee_unknown" "There is no such fee";
    BILL_UNKNOWN = 404 "bill_unknown" "There is no such bill";
    STATEMENT_UNKNOWN = 404 "statement_unknown" "There is no such statement";
    MERCHANT_UNKNOWN = 404 "merchant_unknown" "There is no such merchant";
    CUSTOMER_UNKNOWN = 404 "customer_unknown" "There is no such customer";
    METHOD_NOT_ALLOWED = 405 "method_not_allowed" "This call has another method";
    BODY_TIMEOUT = 408 "body_timeout" "The body did not come in time";
    ORDER_ID_REUSED = 409 "order_id_reused" "The order id was used with other content";
    ALREADY_PAID_OUT = 409 "already_paid_out" "The money went back to the customer";
    ALREADY_WAIVED = 409 "already_waived" "The fee was waived before";
    ALREADY_WRITTEN_OFF = 409 "already_written_off" "The bill was given up before";
    NOT_AN_OPEN_MONTH = 409 "not_an_open_month" "The month is not open";
    USE_REFUND = 409 "use_refund" "The sale can no longer be cancelled";
    CAPTURED_OTHERWISE = 409 "captured_otherwise" "Captured already with another amount";
    NOT_STANDING = 409 "not_standing" "There is no approval left to act on";
    NOT_CAPTURED = 409 "not_captured" "A refund needs a capture";
    REFUND_ID_REUSED = 409 "refund_id_reused" "The refund id was used with another amount";
    ID_REUSED = 409 "id_reused" "The id was used for something else";
    REPAYMENT_ID_REUSED = 409 "repayment_id_reused" "The repayment id was used for something else";
    PAYMENT_FINAL = 409 "payment_final" "The payment is final";
    PAYMENT_WITHDRAWN = 409 "payment_withdrawn" "The payment was withdrawn";
    NOTHING_OWED = 409 "nothing_owed" "There is nothing to pay";
    SLIP_TOO_LATE = 409 "slip_too_late" "The bill is too old for a slip";
    SLIP_TOO_LARGE = 409 "slip_too_large" "More than a barcode can say";
    TOO_MANY_OPEN = 409 "too_many_open" "The customer has too many of these open";
    NOT_IN_SUSPENSE = 409 "not_in_suspense" "The sale is not in suspense";
    SUSPENSE_OF_NOBODY = 409 "suspense_of_nobody" "No customer is known to be charged";
    NOT_CHARGEABLE = 409 "not_chargeable" "No customer may be charged for it";
    CODE_NOT_LIVE = 409 "code_not_live" "The code has ended";
    EVENTS_RELEASED = 410 "events_released" "These events are not kept any more";
    TOO_LARGE = 413 "too_large" "The body is too large";
    UNSUPPORTED_MEDIA_TYPE = 415 "unsupported_media_type" "The body is of another kind";
    INVALID_FIELD = 422 "invalid_field" "A field is out of its range";
    OVER_HOLD = 422 "over_hold" "More than was authorized";
    OVER_REFUNDABLE = 422 "over_refundable" "More than is left to refund";
    OVER_DAMAGES = 422 "over_damages" "More damages than have accrued";
    OVER_CREDIT = 422 "over_credit" "More than the credit";
    OVER_REPAYMENT = 422 "over_repayment" "More than the repayment was";
    OVER_USAGE = 422 "over_usage" "More than the month has used";
    TOO_MANY_REFUNDS = 422 "too_many_refunds" "The purchase was refunded too often";
    DUE_DATE_UNKNOWN = 422 "due_date_unknown" "The due date cannot be known yet";
    TOO_MANY_BAD_CODES = 429 "too_many_bad_codes" "Too many bad codes from this source";
    TOO_MANY_CODES = 429 "too_many_codes" "Too many codes for this customer";
    INTERNAL = 500 "internal" "This should not have happened";
    CODING_UNKNOWN = 501 "coding_unknown" "The transfer coding is not known";
    BUSY = 503 "busy" "Too much work is waiting";
    NOT_OWNER = 503 "not_owner" "Another node decides";
    NOT_READY = 503 "not_ready" "The service is not ready";
}

/// One field that is wrong: a JSON pointer into the body, or the name of a path or query parameter or of a header.
#[derive(Debug, Serialize)]
pub(super) struct FieldError {
    #[serde(flatten)]
    place: Place,
    detail: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    Pointer(String),
    Parameter(String),
    Header(&'static str),
}

/// An error on its way out. Boxed content, so that a `Result` with it stays small.
#[derive(Debug)]
pub struct Problem(pub(super) Box<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub status: u16,
    pub reason: &'static str,
    pub title: &'static str,
    pub detail: String,
    pub errors: Vec<FieldError>,
    pub extra: Map<String, Value>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub fn new(kind: &Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            status: kind.status,
            reason: kind.reason,
            title: kind.title,
            detail: detail.into(),
            errors: Vec::new(),
            extra: Map::new(),
            headers: Vec::new(),
        }))
    }

    /// A field of the body, by its JSON pointer.
    pub fn field(pointer: &str, detail: impl Into<String>) -> Self {
        Self::new(&INVALID_FIELD, "").with_field(pointer, detail)
    }

    /// A parameter of the path or the query.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self::new(&INVALID_FIELD, "").with_error(name, Place::Parameter(name.to_owned()), detail)
    }

    /// A part of the path that can't be read: no such address.
    pub fn in_path(name: &str, detail: impl Into<String>) -> Self {
        Self::new(&MALFORMED, "").with_error(name, Place::Parameter(name.to_owned()), detail)
    }

    /// A header that can't be read.
    pub fn in_header(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(&MALFORMED, "").with_error(name, Place::Header(name), detail)
    }

    #[must_use]
    pub fn with_field(self, pointer: &str, detail: impl Into<String>) -> Self {
        self.with_error(pointer, Place::Pointer(pointer.to_owned()), detail)
    }

    /// It is the detail of the whole problem too, where that has none.
    fn with_error(mut self, name: &str, place: Place, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        if self.0.detail.is_empty() {
            self.0.detail = format!("`{name}` {detail}.");
        }
        self.0.errors.push(FieldError { place, detail });
        self
    }

    /// A customer who may not pay: the reason of the denial table, and the words for the customer's phone.
    pub fn code_refused(reason: Reason, circumstances: &Circumstances) -> Self {
        let row = reason.row();
        let words = circumstances.words(reason);
        let next_step = Bilingual::filled(words, &[("why", circumstances.why().unwrap_or_default())]);
        let kind = Kind { status: row.http, reason: row.name, title: "No code for this customer now" };
        Self::new(&kind, "Show `next_step` to the customer.").with("next_step", serde_json::json!(next_step))
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.extra.insert(name.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// When to try again, in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub fn unauthorized(wrong_key: bool) -> Self {
        let (detail, challenge) = if wrong_key {
            ("This API key is not known. Check the key.", r#"Bearer realm="sokketsu", error="invalid_token""#)
        } else {
            ("Send your API key as `Authorization: Bearer KEY`.", r#"Bearer realm="sokketsu""#)
        };
        Self::new(&UNAUTHORIZED, detail).with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    pub fn method_not_allowed(allowed: &[Method]) -> Self {
        let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let problem = Self::new(&METHOD_NOT_ALLOWED, format!("Use one of: {allowed}."));
        match HeaderValue::from_str(&allowed) {
            Ok(value) => problem.with_header(header::ALLOW, value),
            Err(_) => problem,
        }
    }

    pub fn busy() -> Self {
        Self::new(&BUSY, "No decision was made. Send the same request again after Retry-After.").retry_after(1)
    }

    /// As many are in memory as may be: it passes once some are let go of, or with a larger bound.
    pub fn full(full: Full) -> Self {
        let (what, key) = match full {
            Full::Orders => ("orders", "`orders.max`"),
            Full::Codes => ("codes", "`codes.max`, or all handles near this customer's"),
            Full::Customers => ("customers", "`customers.max`"),
            Full::Merchants => ("merchants", "`merchants.max`"),
            Full::Receipts => ("receipts of the office's calls", "what is kept until the ledger has them"),
        };
        let detail = format!("As many {what} are kept as may be ({key}). Nothing was recorded. Send it again later.");
        // Only time helps, or a larger bound.
        Self::new(&BUSY, detail).retry_after(60)
    }

    pub fn not_ready() -> Self {
        Self::new(&NOT_READY, "No decision was made. Send the same request again after Retry-After.").retry_after(1)
    }

    /// This node waits for another one to go.
    pub fn not_owner(standby: &Standby) -> Self {
        let owner = serde_json::json!({ "node": standby.of, "address": standby.address });
        let detail = "No decision was made. Send the same request to the owner, or again after Retry-After.";
        Self::new(&NOT_OWNER, detail).with("owner", owner).retry_after(1)
    }

    /// The fact would not fit into a record; nothing was recorded.
    pub fn fact_too_large() -> Self {
        Self::new(
            &TOO_LARGE,
            "What this would change is more than one record can hold. Nothing was recorded. Do it in smaller parts.",
        )
    }

    pub fn internal() -> Self {
        Self::new(&INTERNAL, "Ask for the outcome before trying again, and report the X-Request-Id.")
    }

    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    pub(crate) fn with_detail(mut self, detail: String) -> Self {
        self.0.detail = detail;
        self
    }

    /// For a line of a file, where nobody sees the JSON.
    pub(crate) fn in_words(&self) -> String {
        let field = |FieldError { place, detail }: &FieldError| match place {
            Place::Pointer(place) | Place::Parameter(place) => format!("{place} {detail}"),
            Place::Header(place) => format!("{place} {detail}"),
        };
        let fields: Vec<_> = self.0.errors.iter().map(field).collect();
        if fields.is_empty() { self.0.detail.clone() } else { fields.join("; ") }
    }

    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    pub fn status(&self) -> u16 {
        self.0.status
    }
}

impl From<NoAnswer> for Problem {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::Busy => Self::busy(),
            NoAnswer::NotReady => Self::not_ready(),
            NoAnswer::Full(full) => Self::full(full),
            NoAnswer::TooLarge => Self::fact_too_large(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(problem: Problem) -> (u16, Value) {
        let answer = problem.into_answer();
        (answer.status.as_u16(), serde_json::from_slice(answer.body.as_whole().unwrap()).unwrap())
    }

    #[test]
    fn every_error_has_its_members() {
        let (status, body) = shown(Problem::field("/amount", "must be a whole number").with("left", 5));
        assert_eq!(status, 422);
        assert_eq!(body["reason"], "invalid_field");
        assert_eq!(body["status"], 422);
        assert_eq!(body["detail"], "`/amount` must be a whole number.");
        assert_eq!(body["errors"][0]["pointer"], "/amount");
        assert_eq!(body["left"], 5);
        assert_eq!(body["type"], "urn:sokketsu:problem:invalid_field");
    }

    #[test]
    fn a_code_refusal_tells_the_customer_the_next_step() {
        let (status, body) = shown(Problem::code_refused(Reason::Overdue, &Circumstances::default()));
        assert_eq!((status, &body["reason"]), (403, &Value::from("overdue")));
        assert!(body["next_step"]["ja"].as_str().unwrap().contains("お支払期限"));
        assert_eq!(shown(Problem::code_refused(Reason::CustomerUnknown, &Circumstances::default())).0, 404);
    }

    #[test]
    fn reasons_are_unique() {
        let mut reasons: Vec<_> = KINDS.iter().map(|kind| kind.reason).collect();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(reasons.len(), KINDS.len());
    }
}
