//! The steps that a history is made of.

use super::books::{Method, Way};

/// How much of what there is.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    All,
    Half,
    AllButOne,
    More,
    Yen(u64),
}

impl Part {
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Self::All => whole,
            Self::Half => whole / 2,
            Self::AllButOne => whole.saturating_sub(1),
            Self::More => whole + 777,
            Self::Yen(yen) => yen,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Until {
    Later(i64),
    /// So many milliseconds before or after the next day of the month that is this one.
    DayOfMonth(i64, i64),
}

/// `pick` chooses among the sales, bills, fees or facts that there are.
#[derive(Clone, Debug)]
pub enum Act {
    Buy {
        who: usize,
        way: Way,
        amount: u64,
        hold: bool,
    },
    Capture {
        pick: usize,
        part: Part,
    },
    Cancel {
        pick: usize,
    },
    Refund {
        pick: usize,
        part: Part,
    },
    /// Paid that long before we heard of it; perhaps on the latest slip.
    Pay {
        who: usize,
        part: Part,
        late: i64,
        slip: bool,
    },
    Slip {
        who: usize,
    },
    News {
        who: usize,
        part: Part,
        late: i64,
        life: i64,
    },
    EndNews {
        who: usize,
        came: bool,
    },
    SetMethod {
        who: usize,
        method: Method,
    },
    PostDamages {
        who: usize,
        pick: usize,
        part: Part,
    },
    PayOut {
        who: usize,
        part: Part,
    },
    /// The bank sends a payout back.
    Bounce {
        who: usize,
        pick: usize,
    },
    Reverse {
        who: usize,
        pick: usize,
        part: Part,
    },
    Waive {
        who: usize,
        pick: usize,
    },
    ReverseDamages {
        who: usize,
        pick: usize,
    },
    WriteOff {
        who: usize,
        pick: usize,
    },
    Release {
        who: usize,
        pick: usize,
    },
    ApplyCredit {
        who: usize,
        part: Part,
    },
    /// Closed by staff, or active again.
    SetClosed {
        who: usize,
        closed: bool,
    },
    Wait(Until),
    Sweep {
        who: usize,
    },
    Restart,
}
