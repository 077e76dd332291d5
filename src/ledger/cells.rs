//! Cells of one row that a database gave, checked on the way out: what can't have been written is a damaged ledger.

use super::LedgerError;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::money::Yen;
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Date, Millis, Month};

/// A row, as its database gives it. What a cell means is said once, below, for all of them.
pub(crate) trait Cells {
    fn opt(&self, column: usize) -> Result<Option<i64>, LedgerError>;
    fn opt_str(&self, column: usize) -> Result<Option<&str>, LedgerError>;
    fn opt_bytes(&self, column: usize) -> Result<Option<&[u8]>, LedgerError>;
    /// What the column is called, for an error.
    fn name(&self, column: usize) -> &str;
}

impl dyn Cells + '_ {
    pub(crate) fn damaged(&self, column: usize) -> LedgerError {
        LedgerError::Corrupt(format!("{} holds a value that was never written", self.name(column)))
    }

    pub(crate) fn int(&self, column: usize) -> Result<i64, LedgerError> {
        self.opt(column)?.ok_or_else(|| self.damaged(column))
    }

    /// A number within its type.
    pub(crate) fn num<T: TryFrom<i64>>(&self, column: usize) -> Result<T, LedgerError> {
        T::try_from(self.int(column)?).map_err(|_| self.damaged(column))
    }

    pub(crate) fn opt_num<T: TryFrom<i64>>(&self, column: usize) -> Result<Option<T>, LedgerError> {
        self.opt(column)?.map(T::try_from).transpose().map_err(|_| self.damaged(column))
    }

    pub(crate) fn bits(&self, column: usize) -> Result<u64, LedgerError> {
        Ok(self.int(column)?.cast_unsigned())
    }

    pub(crate) fn lsn(&self, column: usize) -> Result<Lsn, LedgerError> {
        self.bits(column).map(Lsn)
    }

    pub(crate) fn millis(&self, column: usize) -> Result<Millis, LedgerError> {
        self.int(column).map(Millis)
    }

    pub(crate) fn yen(&self, column: usize) -> Result<Yen, LedgerError> {
        self.bits(column).map(Yen::new)
    }

    pub(crate) fn opt_yen(&self, column: usize) -> Result<Option<Yen>, LedgerError> {
        Ok(self.opt(column)?.map(|yen| Yen::new(yen.cast_unsigned())))
    }

    pub(crate) fn customer(&self, column: usize) -> Result<CustomerIx, LedgerError> {
        self.num(column).map(CustomerIx)
    }

    /// A number that stands for something else.
    pub(crate) fn made<N: TryFrom<i64>, T>(
        &self,
        column: usize,
        make: impl Fn(N) -> Option<T>,
    ) -> Result<T, LedgerError> {
        make(self.num(column)?).ok_or_else(|| self.damaged(column))
    }

    pub(crate) fn opt_made<N: TryFrom<i64>, T>(
        &self,
        column: usize,
        make: impl Fn(N) -> Option<T>,
    ) -> Result<Option<T>, LedgerError> {
        self.opt(column)?.map(|_| self.made(column, make)).transpose()
    }

    /// One of a few, by its number.
    pub(crate) fn one_of<T: Copy>(&self, column: usize, all: &[T], number: impl Fn(T) -> u8) -> Result<T, LedgerError> {
        self.made(column, |n: u8| all.iter().copied().find(|one| number(*one) == n))
    }

    pub(crate) fn month(&self, column: usize) -> Result<Month, LedgerError> {
        self.made(column, Month::from_number)
    }

    pub(crate) fn date(&self, column: usize) -> Result<Date, LedgerError> {
        self.made(column, Date::from_number)
    }

    pub(crate) fn channel(&self, column: usize) -> Result<Channel, LedgerError> {
        self.one_of(column, &Channel::ALL, |channel| channel as u8)
    }

    pub(crate) fn blob<T, E>(&self, column: usize, parse: impl Fn(&[u8]) -> Result<T, E>) -> Result<T, LedgerError> {
        let bytes = self.opt_bytes(column)?;
        bytes.and_then(|bytes| parse(bytes).ok()).ok_or_else(|| self.damaged(column))
    }

    pub(crate) fn opt_text<T>(
        &self,
        column: usize,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, LedgerError> {
        let Some(text) = self.opt_str(column)? else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| self.damaged(column))
    }

    pub(crate) fn text<T>(&self, column: usize, parse: impl Fn(&str) -> Option<T>) -> Result<T, LedgerError> {
        self.opt_text(column, parse)?.ok_or_else(|| self.damaged(column))
    }
}
