//! The tables of the books, by name: what a backend has to have, and the cells that are written to them.

use std::borrow::Cow;

/// How wide a column is, where a backend has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 16 bits.
    Small,
    /// 32 bits.
    Int,
    /// 32 bits without a sign, for equality only.
    Hash,
    /// 64 bits.
    Big,
    Text,
    Bytes,
}

/// Columns of a table that are written together, its key first.
#[derive(Debug)]
pub(crate) struct Table {
    pub name: &'static str,
    /// So many of the columns are the key.
    pub key: usize,
    pub columns: &'static [(&'static str, Kind)],
}

/// One cell on its way in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value<'a> {
    Null,
    Int(i64),
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for Value<'_> {
            fn from(number: $number) -> Self {
                Self::Int(i64::from(number))
            }
        }
    )*};
}
numbers!(bool, u8, u16, u32, i64);

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// A row, in the order of a table's columns.
macro_rules! row {
    ($($cell:expr),* $(,)?) => { [$($crate::ledger::tables::Value::from($cell)),*] };
}
pub(crate) use row;

use Kind::{Big, Bytes, Hash, Int, Small, Text};

pub(crate) static POLICY: Table =
    Table { name: "policy", key: 1, columns: &[("lsn", Big), ("version", Int), ("text", Text), ("set_at", Big)] };

pub(crate) static HOLIDAY_FILE: Table =
    Table { name: "holiday_file", key: 1, columns: &[("lsn", Big), ("text", Text)] };

pub(crate) static MERCHANT: Table = Table {
    name: "merchant",
    key: 1,
    columns: &[
        ("merchant_id", Text),
        ("name", Text),
        ("mcc", Int),
        ("status", Small),
        ("per_payment", Big),
        ("in_store", Big),
    ],
};

pub(crate) static CODE: Table = Table {
    name: "code",
    key: 1,
    columns: &[
        ("lsn", Big),
        ("handle", Big),
        ("id_random", Big),
        ("customer", Int),
        ("generation", Small),
        ("counter", Int),
        ("random", Big),
        ("issued_at", Big),
        ("expires_at", Big),
        ("form", Small),
    ],
};

pub(crate) static CODE_VOID: Table =
    Table { name: "code_void", key: 1, columns: &[("lsn", Big), ("handle", Big), ("voided_at", Big)] };

/// What was decided: never changed.
pub(crate) static DECISION: Table = Table {
    name: "decision",
    key: 1,
    columns: &[
        ("lsn", Big),
        ("authorization_id", Text),
        ("merchant_id", Text),
        ("order_id", Text),
        ("key_hash", Hash),
        ("store_id", Text),
        ("terminal_id", Text),
        ("customer", Int),
        ("channel", Small),
        ("handle", Big),
        ("trial", Small),
        ("amount", Big),
        ("fingerprint", Big),
        ("policy", Int),
        ("decided_at", Big),
        ("reason", Small),
        ("hold_expires_at", Big),
        ("month", Small),
        ("due", Int),
        ("points", Big),
        ("room", Big),
        ("first_lsn", Big),
    ],
};

/// What became of it.
pub(crate) static DECISION_NOW: Table = Table {
    name: "decision_now",
    key: 1,
    columns: &[
        ("lsn", Big),
        ("state", Small),
        ("captured", Big),
        ("refunded", Big),
        ("capture_at", Big),
        ("capture_month", Small),
        ("capture_due", Int),
        ("capture_points", Big),
        ("touched", Big),
        ("touched_at", Big),
        ("recalled", Big),
        ("advice", Small),
        ("charged", Int),
    ],
};

pub(crate) static REFUND: Table = Table {
    name: "refund",
    key: 2,
    columns: &[
        ("order_lsn", Big),
        ("lsn", Big),
        ("refund_id", Text),
        ("amount", Big),
        ("left_after", Big),
        ("destination", Small),
        ("applied", Bytes),
        ("restored", Big),
        ("paid_at", Big),
    ],
};

/// What came later to an order, for the lists of captures and refunds: a log by its record. A refund has its own id.
pub(crate) static ORDER_STEP: Table = Table {
    name: "order_step",
    key: 1,
    columns: &[
        ("lsn", Big),
        ("kind", Small),
        ("order_lsn", Big),
        ("merchant_id", Text),
        ("customer", Int),
        ("refund_id", Text),
        ("amount", Big),
        ("recorded_at", Big),
    ],
};

pub(crate) static SUSPENSE: Table = Table {
    name: "suspense",
    key: 1,
    columns: &[("order_lsn", Big), ("customer", Int), ("amount", Big), ("recorded_at", Big)],
};

/// The end of a sale in suspense: by order and amount one is found that has no end yet.
pub(crate) static SUSPENSE_END: Table = Table {
    name: "suspense",
    key: 2,
    columns: &[
        ("order_lsn", Big),
        ("amount", Big),
        ("cleared_lsn", Big),
        ("cleared_at", Big),
        ("cleared_kind", Small),
        ("cleared_counter", Small),
    ],
};

/// A log, with no key of its own.
pub(crate) static MOVEMENT: Table = Table {
    name: "movement",
    key: 0,
    columns: &[
        ("lsn", Big),
        ("kind", Small),
        ("customer", Int),
        ("account", Small),
        ("counter_account", Small),
        ("amount", Big),
        ("month", Small),
        ("channel", Small),
        ("order_lsn", Big),
        ("recorded_at", Big),
        ("money", Big),
        ("own_day", Big),
        ("far", Small),
        ("far_bill", Big),
        ("value_at", Big),
    ],
};

pub(crate) static BILL: Table = Table {
    name: "bill",
    key: 2,
    columns: &[
        ("customer", Int),
        ("month", Small),
        ("method", Small),
        ("due", Int),
        ("fee", Big),
        ("principal", Big),
        ("lsn", Big),
    ],
};

/// A log too.
pub(crate) static LADDER_STEP: Table = Table {
    name: "ladder_step",
    key: 0,
    columns: &[
        ("lsn", Big),
        ("customer", Int),
        ("from_rung", Small),
        ("to_rung", Small),
        ("why", Small),
        ("policy", Int),
        ("recorded_at", Big),
    ],
};

pub(crate) static GRADE: Table = Table {
    name: "grade",
    key: 2,
    columns: &[
        ("customer", Int),
        ("lsn", Big),
        ("recorded_at", Big),
        ("rung", Small),
        ("limit_total", Big),
        ("limit_in_store", Big),
        ("is_first", Small),
    ],
};

/// What is of no customer has the highest number.
pub(crate) static RECEIPT: Table = Table {
    name: "receipt",
    key: 3,
    columns: &[
        ("customer", Big),
        ("kind", Small),
        ("id", Text),
        ("lsn", Big),
        ("recorded_at", Big),
        ("event", Bytes),
        ("about", Text),
    ],
};

/// A new customer.
pub(crate) static ACCOUNT: Table = Table {
    name: "account",
    key: 1,
    columns: &[
        ("customer", Int),
        ("customer_id", Text),
        ("identity", Small),
        ("identity_reason", Text),
        ("birth_date", Int),
        ("guardian_consent", Small),
        ("payment_method", Small),
        ("status", Small),
        ("limit_total", Big),
        ("limit_in_store", Big),
        ("codes_issued", Int),
        ("live_code", Big),
        ("credit", Big),
        ("month", Small),
        ("in_store", Big),
        ("online", Big),
        ("rung", Small),
        ("on_time_bills", Int),
        ("purchases", Int),
        ("months_active", Int),
        ("latest_month", Small),
        ("story_principal", Big),
        ("touched", Big),
        ("beside", Small),
        ("payout_due", Big),
        ("let_go", Int),
        ("recalled_on", Int),
    ],
};

/// What staff sets of a customer.
pub(crate) static PROFILE: Table = Table {
    name: "account",
    key: 1,
    columns: &[
        ("customer", Int),
        ("identity", Small),
        ("identity_reason", Text),
        ("birth_date", Int),
        ("guardian_consent", Small),
        ("payment_method", Small),
        ("status", Small),
        ("limit_total", Big),
        ("limit_in_store", Big),
    ],
};

/// Everything else in a customer's row.
pub(crate) static STANDING: Table = Table {
    name: "account",
    key: 1,
    columns: &[
        ("customer", Int),
        ("codes_issued", Int),
        ("live_code", Big),
        ("credit", Big),
        ("month", Small),
        ("in_store", Big),
        ("online", Big),
        ("rung", Small),
        ("on_time_bills", Int),
        ("purchases", Int),
        ("months_active", Int),
        ("latest_month", Small),
        ("story_principal", Big),
        ("touched", Big),
        ("beside", Small),
        ("payout_due", Big),
        ("let_go", Int),
        ("recalled_on", Int),
    ],
};

pub(crate) static HOLD: Table = Table {
    name: "hold",
    key: 2,
    columns: &[("customer", Int), ("order_lsn", Big), ("channel", Small), ("amount", Big), ("expires_at", Big)],
};

pub(crate) static DOSSIER: Table = Table { name: "dossier", key: 1, columns: &[("customer", Int), ("body", Bytes)] };

pub(crate) static STORY: Table =
    Table { name: "story", key: 3, columns: &[("customer", Int), ("kind", Small), ("number", Big), ("body", Bytes)] };

pub(crate) static STORY_CHANGE: Table = Table {
    name: "story_change",
    key: 4,
    columns: &[("customer", Int), ("kind", Small), ("number", Big), ("place", Int), ("body", Bytes)],
};

pub(crate) static PAST_STORY: Table = Table {
    name: "past_story",
    key: 3,
    columns: &[("customer", Int), ("kind", Small), ("number", Big), ("kept_until", Int), ("body", Bytes)],
};
