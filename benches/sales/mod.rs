//! Records as a day in the shops makes them, for the benches of ledger and recovery.

use std::sync::Arc;

use sokketsu::domain::model::customer::Profile;
use sokketsu::domain::model::ids::{
    CustomerId, CustomerIx, Handle, Lsn, MerchantId, OrderId, Part, StoreId, TerminalId,
};
use sokketsu::domain::model::money::Yen;
use sokketsu::domain::model::purchase::Channel;
use sokketsu::domain::model::request::{Authorize, OrderKey, Payer, Proof, Scanned};
use sokketsu::domain::model::time::{Millis, Now, SECOND};
use sokketsu::domain::state::event::{Approval, CodeIssued, Decided, Event, Outcome};
use sokketsu::ledger::Posting;

/// Customers in no order, one sale after the other, each with a code of its own.
pub struct Sales {
    customers: u32,
    lsn: u64,
    sale: u64,
    at: Millis,
}

impl Sales {
    pub fn new(customers: u32) -> Self {
        let at = Millis::parse("2026-11-23T17:00:00+09:00").expect("a time");
        Self { customers, lsn: 0, sale: 0, at }
    }

    fn posting(&mut self, event: Event) -> Posting {
        self.lsn += 1;
        Posting { lsn: Lsn(self.lsn), time: self.at, event }
    }

    /// All customers, as new ones.
    pub fn customers(&mut self) -> impl Iterator<Item = Posting> {
        (0..self.customers).map(|n| {
            let id = CustomerId::new(&format!("c{n:08}")).expect("a name");
            self.posting(Event::CustomerSet { ix: CustomerIx(n), id, profile: Box::new(Profile::newcomer()) })
        })
    }

    fn next(&mut self) -> (CustomerIx, Handle) {
        self.sale += 1;
        let mixed = self.sale.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
        let customer = u32::try_from(mixed % u64::from(self.customers)).unwrap_or(0);
        (CustomerIx(customer), Handle::draw(Part::from_number(mixed >> 7), mixed >> 3))
    }

    fn issued(&mut self, customer: CustomerIx, handle: Handle) -> Posting {
        let expires_at = self.at.plus(300 * SECOND);
        let issued =
            CodeIssued { customer, handle, generation: 1, id_random: self.sale, counter: 1, random: 2, expires_at };
        self.posting(Event::CodeIssued(issued))
    }

    fn sold(&mut self, customer: CustomerIx, handle: Handle) -> Posting {
        let now = Now::at(self.at);
        let input = Authorize {
            store: StoreId::new("S001").ok(),
            terminal: TerminalId::new("T01").ok(),
            ..Authorize::new(
                OrderKey {
                    merchant: MerchantId::new("mrc_konbini").expect("a name"),
                    order_id: OrderId::new(&format!("R-{:012}", self.sale)).expect("a name"),
                },
                Payer::Code(Scanned::Sealed { handle, proof: Proof::Barcode { epoch: 1 } }),
                Channel::InStore,
                Yen::new(1_980),
            )
        };
        let approval = Approval { month: now.month, due: now.month.next().day(10), points: 9, hold_expires_at: None };
        let outcome = Outcome::Approved(approval);
        let (random, room) = (self.sale, Yen::new(5_000));
        let customer = Some(customer);
        self.posting(Event::Decided(Decided {
            random,
            policy: 1,
            input: Arc::new(input),
            customer,
            room,
            outcome,
            basis: None,
        }))
    }

    /// So many sales; with `codes`, each after the issue of its code. A second passes.
    pub fn chunk(&mut self, sales: u64, codes: bool) -> Vec<Posting> {
        let mut chunk = Vec::new();
        self.at = self.at.plus(SECOND);
        for _ in 0..sales {
            let (customer, handle) = self.next();
            if codes {
                chunk.push(self.issued(customer, handle));
            }
            chunk.push(self.sold(customer, handle));
        }
        chunk
    }
}
