//! The limit on bad codes around one purchase: whether it is judged at all, and what its judgement means for its source.

use std::time::{Duration, Instant};

use super::Edge;
use super::bad_codes::{Pass, Source};
use crate::domain::request::{Authorize, Payer};
use crate::domain::rule::Reply;
use crate::metrics::metrics;

/// A purchase on its way through the engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    source: Source,
    pass: Pass,
    /// Its code is bad, and counted.
    is_counted: bool,
}

impl Admission {
    /// Looks at a purchase before the engine does.
    pub(super) fn of(edge: &Edge, source: Source, input: &Authorize) -> Self {
        let Payer::Code(scanned) = input.payer else { return Self { source, pass: Pass::Open, is_counted: false } };
        let is_bad = scanned.is_bad();
        let pass = edge.bad_codes.check(&source, is_bad, Instant::now());
        Self { source, pass, is_counted: is_bad && pass == Pass::Open }
    }

    /// Whether only a known order is answered.
    pub(super) fn is_throttled(&self) -> bool {
        self.pass != Pass::Open
    }

    /// When its source may try again, where it must wait.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self.pass {
            Pass::Open => None,
            Pass::Shut(wait) => Some(wait),
        }
    }

    /// The engine has answered, or not taken it: a known order that was sent again is no new bad code.
    pub(super) fn settle(&self, edge: &Edge, reply: Option<&Reply>) {
        if !self.is_counted {
            return;
        }
        match reply {
            Some(Reply::Decision { replayed: false, .. }) => metrics().bad_codes.increment(1),
            _ => edge.bad_codes.forgive(&self.source),
        }
    }
}
