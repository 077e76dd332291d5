//! Every figure of one customer, by the product and by the model.

use super::bill::Bill;
use super::books::Fact;
use super::calendar::{Day, date, day_of};
use super::fold::Books;
use super::play::{Checked, LIMITS, Play, check};
use super::product::{Standing, Sums, lines};
use sokketsu::domain::model::denial::Reason;
use sokketsu::domain::model::time::Millis;

/// Of the product's date, by what it prints.
fn days(date_text: &str) -> Day {
    let parts: Vec<i64> = date_text.split('-').map(|part| part.parse().unwrap()).collect();
    date(parts[0] * 12 + parts[1] - 1, parts[2])
}

/// Yen of the free sums by own day, and by whether they are due for payout.
fn sums(books: &Books) -> Sums {
    let mut sums = Sums::new();
    for sum in &books.free {
        for (is_due, amount) in [(true, sum.due), (false, sum.amount - sum.due)] {
            if amount > 0 {
                *sums.entry((sum.money.day, is_due)).or_default() += amount;
            }
        }
    }
    sums
}

impl Play {
    pub(super) fn compare(&self, who: usize) -> Checked {
        let (books, as_if) = self.books(who);
        let customer = &self.customers[who];
        let standing = self.product.standing(who, self.now);
        let same = |what: &str, product: (u64, u64), model: (u64, u64)| {
            check(product == model, || format!("C{who}: {what} is {product:?}, by the model {model:?}"))
        };
        let exposure = books.exposure(customer, self.now);
        let online = LIMITS[who].0.saturating_sub(exposure.total);
        let room = LIMITS[who].1.saturating_sub(exposure.in_store).min(online);
        check(standing.exposure == exposure, || {
            format!("C{who}: exposure is {:?}, by the model {exposure:?}", standing.exposure)
        })?;
        let parts = exposure.held + exposure.unbilled + exposure.billed + exposure.written_off;
        assert_eq!(exposure.total, parts, "the model's exposure");
        same("spendable", standing.spendable, (room, online))?;
        same("credit and what is due", (standing.credit, standing.payout_due), (books.credit(), books.payout_due()))?;
        let (by_product, by_model) = (&standing.sums, sums(&books));
        check(*by_product == by_model, || format!("C{who}: free are {by_product:?}, by the model {by_model:?}"))?;
        let blocked = match customer.is_closed {
            true => Some(Reason::Closed),
            false => self.is_overdue(&books, &as_if).then_some(Reason::Overdue),
        };
        check(standing.blocked == blocked, || format!("C{who} is blocked: {:?}, not {blocked:?}", standing.blocked))?;
        let rows = self.product.rows_that_differ(who);
        check(rows.is_none(), || format!("C{who}: the ledger's rows come to {rows:?}"))?;
        self.compare_bills(who, &books, &as_if, &standing)?;
        self.compare_money(who, &books, &standing)?;
        self.product.lies_add_up(who, self.now)
    }

    fn compare_bills(&self, who: usize, books: &Books, as_if: &Books, standing: &Standing) -> Checked {
        let mut known = Vec::new();
        for bill in &books.bills {
            let key = self.name(who, bill);
            known.push(key);
            let Some(twin) = standing.bills.iter().find(|twin| twin.bill.key == key) else {
                // The product forgets a bill on which nothing is to be expected any more.
                check(bill.owed() == 0, || format!("C{who}: the bill {bill:?} is gone"))?;
                let past = self.product.past_bill(who, key, self.now);
                let model = (bill.charged, bill.paid, as_if.bill(bill.key).map_or(0, Bill::accrued));
                check(past.is_none_or(|past| past == model), || {
                    format!("C{who}: {key:?} was let go as\n{past:?}, by the model\n{model:?}")
                })?;
                continue;
            };
            let today = day_of(self.now);
            let judged = as_if.bill(bill.key).ok_or("a bill that is there only without the news")?;
            let product = (
                lines(&twin.charged),
                lines(&twin.bill.paid()),
                twin.owed.total().get(),
                twin.bill.written_off_at(Millis(self.now)).is_some(),
                (days(&twin.due.to_string()), twin.is_overdue, twin.accrued.get()),
            );
            let model = (
                bill.charged,
                bill.paid,
                bill.owed(),
                bill.is_written_off,
                (bill.due, bill.is_overdue(today) && judged.is_overdue(today), judged.accrued()),
            );
            check(product == model, || format!("C{who}: {key:?} is\n{product:?}, by the model\n{model:?}"))?;
        }
        let unknown = standing.bills.iter().find(|twin| twin.bill.is_issued() && !known.contains(&twin.bill.key));
        check(unknown.is_none(), || format!("C{who}: a bill the model does not have: {unknown:?}"))
    }

    /// What the customer paid is on lines, is free, or was paid out; and nothing is free beside an unpaid bill.
    fn compare_money(&self, who: usize, books: &Books, standing: &Standing) -> Checked {
        let product = self.product.money(who);
        let paid = self.customers[who].facts.iter().map(|(_, fact)| match fact {
            Fact::Paid { amount, .. } => *amount,
            _ => 0,
        });
        let on_lines = books.all_bills().map(|bill| bill.paid.total()).sum::<u64>();
        let free = books.credit() + books.payout_due();
        let model = (paid.sum(), books.paid_out, books.reversed);
        assert_eq!(model.0, on_lines + free + model.1 + model.2, "the model loses money");
        assert!(free == 0 || books.bills.iter().all(|bill| bill.owed() == 0), "free beside an unpaid bill: {books:?}");
        let is_owed = standing.bills.iter().any(|twin| twin.bill.is_issued() && twin.owed.total().get() > 0);
        let is_free = standing.credit + standing.payout_due > 0;
        check(!(is_owed && is_free), || format!("C{who}: credit beside an unpaid bill: {:?}", standing.bills))?;
        check(product == model, || format!("C{who}: came, went, taken back are {product:?}, by the model {model:?}"))
    }
}
