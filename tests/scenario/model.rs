//! The engine against a naive model: a list of what happened, summed from scratch on every question, with its
//! own calendar arithmetic. Random histories of purchases, retries, cancels, captures, refunds, codes, time
//! steps and restarts must be answered alike, and the standings must agree after every step.

use super::direct::{Core, Direct, Driven, Pure};
use super::{Step, World};
use proptest::prelude::*;

const DAY: i64 = 86_400_000;
const START: i64 = 1_764_000_000_000; // 2025-11-24T16:00:00Z
const LIMITS: [(u64, u64); 3] = [(50_000, 15_000), (10_000, 10_000), (3_000, 2_000)];
const AMOUNTS: [u64; 7] = [1, 500, 1_000, 2_000, 2_001, 7_000, 15_000];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    FreshCode,
    OldCode,
    Online,
    Np,
}

#[derive(Clone, Debug)]
enum Act {
    Buy { who: usize, shop: usize, order: u8, amount: u64, way: Way, hold: bool, confirm: bool },
    Cancel { shop: usize, order: u8 },
    Capture { shop: usize, order: u8, amount: u64 },
    Refund { shop: usize, order: u8, id: u8, amount: u64 },
    Later(i64),
    Restart,
}

#[derive(Clone, Debug, PartialEq)]
enum Fate {
    Tombstone,
    Denied(&'static str, Option<u8>),
    Approved,
}

#[derive(Clone, Debug)]
struct Sale {
    shop: usize,
    order: u8,
    who: usize,
    amount: u64,
    way: Way,
    code: Option<usize>,
    confirm: bool,
    hold: bool,
    at: i64,
    touched: i64,
    fate: Fate,
    cancelled: bool,
    captured: Option<(u64, i64)>,
    refunds: Vec<(u8, u64)>,
}

struct Code {
    who: usize,
    at: i64,
    voided: bool,
    used_by: Option<usize>,
}

/// Days since 1970-01-01 of the JST day, and (year, month, day); by counting, not by formula.
fn day_of(ms: i64) -> (i64, (i64, i64, i64)) {
    let days = (ms + 9 * 3_600_000).div_euclid(DAY);
    let (mut year, mut left) = (1970, days);
    loop {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = if leap { 366 } else { 365 };
        if left < length {
            let months = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            let mut month = 0;
            while left >= months[month] {
                left -= months[month];
                month += 1;
            }
            return (days, (year, i64::try_from(month).unwrap() + 1, left + 1));
        }
        left -= length;
        year += 1;
    }
}

struct Model {
    now: i64,
    sales: Vec<Sale>,
    codes: Vec<Code>,
}

impl Model {
    fn expired(&self, sale: &Sale) -> bool {
        sale.hold && sale.captured.is_none() && self.now >= sale.at + 7 * DAY
    }

    /// What the customer still owes or holds of a sale.
    fn open(&self, sale: &Sale) -> u64 {
        if sale.fate != Fate::Approved || sale.cancelled || self.expired(sale) {
            return 0;
        }
        let gross = sale.captured.map_or(sale.amount, |(amount, _)| amount);
        gross - sale.refunds.iter().map(|(_, amount)| amount).sum::<u64>()
    }

    fn owes(&self, who: usize) -> (u64, u64) {
        let mine = || self.sales.iter().filter(|sale| sale.who == who);
        let in_store = mine().filter(|s| matches!(s.way, Way::FreshCode | Way::OldCode)).map(|s| self.open(s)).sum();
        (mine().map(|sale| self.open(sale)).sum(), in_store)
    }

    fn stands(&self, sale: &Sale) -> bool {
        self.open(sale) > 0
    }

    /// Konbini: due the 10th of the month after the capture; NP: 14 days after it.
    fn overdue(&self, who: usize) -> bool {
        let (today, (year, month, day)) = day_of(self.now);
        self.sales.iter().filter(|sale| sale.who == who && self.open(sale) > 0).any(|sale| {
            let Some((_, at)) = sale.captured else { return false };
            let (bought, (y, m, _)) = day_of(at);
            let months_on = (year - y) * 12 + month - m;
            if sale.way == Way::Np { today > bought + 14 } else { months_on > 1 || (months_on == 1 && day > 10) }
        })
    }

    fn remembered(&self, sale: &Sale) -> bool {
        let open_hold = sale.hold && sale.captured.is_none() && !sale.cancelled && sale.fate == Fate::Approved;
        let settled = if open_hold { sale.touched.max(sale.at + 7 * DAY) } else { sale.touched };
        self.now < settled + 2 * DAY
    }

    fn find(&self, shop: usize, order: u8) -> Option<usize> {
        let at = self.sales.iter().rposition(|sale| (sale.shop, sale.order) == (shop, order))?;
        self.remembered(&self.sales[at]).then_some(at)
    }

    fn judge(&self, buy: &Sale, tombstone: bool) -> Fate {
        let denied = |reason| Fate::Denied(reason, None);
        if tombstone {
            return denied("cancelled");
        }
        if let Some(code) = buy.code.map(|at| &self.codes[at]) {
            match code.used_by {
                Some(by) if self.now < self.sales[by].at + 2 * DAY => {
                    return Fate::Denied("code_used", Some(self.sales[by].order));
                }
                // Nobody remembers it.
                Some(_) => return denied("code_invalid"),
                None if self.now >= code.at + 1_500_000 => return denied("code_invalid"),
                None if code.voided => return denied("code_voided"),
                None if self.now >= code.at + 300_000 => return denied("code_expired"),
                None => {}
            }
        }
        if self.overdue(buy.who) {
            return denied("overdue");
        }
        let recent = |window: i64| {
            self.sales.iter().filter(move |sale| {
                sale.who == buy.who && sale.fate == Fate::Approved && sale.at > self.now - window && self.stands(sale)
            })
        };
        if recent(DAY).count() >= 100 {
            return denied("too_many_payments");
        }
        if !buy.confirm
            && let Some(twin) = recent(180_000).rev().find(|s| s.shop == buy.shop && s.amount == buy.amount)
        {
            return Fate::Denied("duplicate_suspect", Some(twin.order));
        }
        let ((total, in_store), (total_limit, store_limit)) = (self.owes(buy.who), LIMITS[buy.who]);
        let store = matches!(buy.way, Way::FreshCode | Way::OldCode);
        if store && in_store + buy.amount > store_limit {
            return denied("over_in_store_limit");
        }
        if total + buy.amount > total_limit {
            return denied("over_total_limit");
        }
        Fate::Approved
    }

    fn buy(&mut self, buy: Sale) -> String {
        let known = self.find(buy.shop, buy.order);
        if let Some(at) = known.filter(|at| self.sales[*at].fate != Fate::Tombstone) {
            let old = &self.sales[at];
            let same = (old.who, old.amount, old.hold, old.confirm, old.code)
                == (buy.who, buy.amount, buy.hold, buy.confirm, buy.code)
                && std::mem::discriminant(&old.way) == std::mem::discriminant(&buy.way)
                || same_code(old, &buy);
            return if same { self.outcome(at) + " replayed" } else { String::from("reused") };
        }
        let fate = self.judge(&buy, known.is_some());
        let approved = fate == Fate::Approved;
        let captured = (approved && !buy.hold).then_some((buy.amount, self.now));
        self.sales.push(Sale { fate, captured, ..buy });
        let at = self.sales.len() - 1;
        if let (true, Some(code)) = (approved, self.sales[at].code) {
            self.codes[code].used_by = Some(at);
        }
        self.outcome(at)
    }

    fn outcome(&self, at: usize) -> String {
        let sale = &self.sales[at];
        match &sale.fate {
            Fate::Denied(reason, first) => {
                let first = first.map(|order| format!(" first=O-{order}")).unwrap_or_default();
                format!("denied {reason}{first}")
            }
            _ if sale.cancelled => String::from("denied cancelled"),
            _ => String::from("approved"),
        }
    }

    fn cancel(&mut self, shop: usize, order: u8) -> String {
        let Some(at) = self.find(shop, order) else {
            self.sales.push(tombstone(shop, order, self.now));
            return String::from("blocked");
        };
        let (expired, now) = (self.expired(&self.sales[at]), self.now);
        let sale = &mut self.sales[at];
        let bought = sale.captured.map_or(sale.at, |(_, at)| at);
        let next_day = (day_of(bought).0 + 1) * DAY - 9 * 3_600_000;
        match (&sale.fate, sale.cancelled) {
            (Fate::Tombstone | Fate::Denied("cancelled", _), _) => String::from("blocked replayed"),
            (Fate::Denied(..), _) => String::from("none"),
            (_, true) => String::from("reversed replayed"),
            _ if expired => String::from("none"),
            _ if !sale.refunds.is_empty() => String::from("refused use_refund"),
            _ if sale.captured.is_some() && now >= next_day + 900_000 => String::from("refused use_refund"),
            _ => {
                (sale.cancelled, sale.touched) = (true, now);
                String::from("reversed")
            }
        }
    }

    fn capture(&mut self, shop: usize, order: u8, amount: u64) -> String {
        let refused = |why: &str| format!("refused {why}");
        let Some(at) = self.find(shop, order).filter(|at| self.sales[*at].fate != Fate::Tombstone) else {
            return refused("authorization_unknown");
        };
        let (expired, now) = (self.expired(&self.sales[at]), self.now);
        let sale = &mut self.sales[at];
        match sale.captured {
            _ if sale.fate != Fate::Approved || sale.cancelled || expired => refused("not_standing"),
            Some((taken, _)) if taken == amount => String::from("captured replayed"),
            Some(_) => refused("captured_otherwise"),
            None if amount > sale.amount => refused("over_hold"),
            None => {
                (sale.captured, sale.touched) = (Some((amount, now)), now);
                String::from("captured")
            }
        }
    }

    fn refund(&mut self, shop: usize, order: u8, id: u8, amount: u64) -> String {
        let refused = |why: &str| format!("refused {why}");
        let Some(at) = self.find(shop, order).filter(|at| self.sales[*at].fate != Fate::Tombstone) else {
            return refused("authorization_unknown");
        };
        let (expired, now) = (self.expired(&self.sales[at]), self.now);
        let sale = &mut self.sales[at];
        if let Some((_, made)) = sale.refunds.iter().find(|(known, _)| *known == id) {
            return if *made == amount { String::from("replayed") } else { refused("refund_id_reused") };
        }
        let gone: u64 = sale.refunds.iter().map(|(_, amount)| amount).sum();
        match sale.captured {
            _ if sale.fate != Fate::Approved || sale.cancelled || expired => refused("not_standing"),
            None => refused("not_captured"),
            Some((taken, _)) if amount > taken - gone => refused("over_refundable"),
            Some((taken, _)) => {
                sale.refunds.push((id, amount));
                sale.touched = now;
                format!("left={}", taken - gone - amount)
            }
        }
    }
}

/// A fresh and an old presentation of one code are the same content.
fn same_code(old: &Sale, new: &Sale) -> bool {
    old.code.is_some() && (old.code, old.amount, old.hold, old.confirm) == (new.code, new.amount, new.hold, new.confirm)
}

fn tombstone(shop: usize, order: u8, at: i64) -> Sale {
    Sale {
        shop,
        order,
        who: usize::MAX,
        amount: 0,
        way: Way::Online,
        code: None,
        confirm: false,
        hold: false,
        at,
        touched: at,
        fate: Fate::Tombstone,
        cancelled: false,
        captured: None,
        refunds: Vec::new(),
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let way =
        prop_oneof![3 => Just(Way::FreshCode), 1 => Just(Way::OldCode), 3 => Just(Way::Online), 1 => Just(Way::Np)];
    let amount = prop::sample::select(AMOUNTS.to_vec());
    let order = || 0u8..24;
    let buy =
        (0usize..3, 0usize..2, order(), amount.clone(), way, prop::bool::weighted(0.2), prop::bool::weighted(0.3))
            .prop_map(|(who, shop, order, amount, way, hold, confirm)| Act::Buy {
                who,
                shop,
                order,
                amount,
                way,
                hold,
                confirm,
            });
    let later =
        prop::sample::select(vec![1, 1_000, 60_000, 180_000, 299_999, 300_000, DAY / 2, 2 * DAY, 6 * DAY, 20 * DAY]);
    let act = prop_oneof![
        8 => buy,
        2 => (0usize..2, order()).prop_map(|(shop, order)| Act::Cancel { shop, order }),
        2 => (0usize..2, order(), amount.clone()).prop_map(|(shop, order, amount)| Act::Capture { shop, order, amount }),
        2 => (0usize..2, order(), 0u8..3, amount)
            .prop_map(|(shop, order, id, amount)| Act::Refund { shop, order, id, amount }),
        3 => later.prop_map(Act::Later),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 1..80)
}

fn step(text: &str) -> Step {
    super::parse(text).pop().unwrap()
}

fn play<C: Core>(acts: &[Act], core: C) -> Result<(), TestCaseError> {
    let mut world = Direct::new(core);
    let mut model = Model { now: START, sales: Vec::new(), codes: Vec::new() };
    world.set_time(START);
    for shop in 0..2 {
        world.step(&step(&format!("merchant M{shop}")));
    }
    for (who, (total, store)) in LIMITS.iter().enumerate() {
        world.step(&step(&format!("customer C{who} identity=verified birth=1990-01-01 limits={total}/{store}")));
    }
    for act in acts {
        let (line, expected) = match act {
            Act::Later(ms) => {
                model.now += ms;
                world.set_time(model.now);
                continue;
            }
            Act::Restart => (String::from("restart"), String::new()),
            Act::Cancel { shop, order } => (format!("cancel O-{order} M{shop}"), model.cancel(*shop, *order)),
            Act::Capture { shop, order, amount } => {
                (format!("capture O-{order} M{shop} {amount}"), model.capture(*shop, *order, *amount))
            }
            Act::Refund { shop, order, id, amount } => {
                (format!("refund O-{order} M{shop} F-{id} {amount}"), model.refund(*shop, *order, *id, *amount))
            }
            Act::Buy { who, shop, order, amount, way, hold, confirm } => {
                let sale = Sale {
                    who: *who,
                    amount: *amount,
                    way: *way,
                    hold: *hold,
                    confirm: *confirm,
                    ..tombstone(*shop, *order, model.now)
                };
                let Some((line, sale)) = present(&mut world, &mut model, sale)? else { continue };
                (line, model.buy(sale))
            }
        };
        let got = world.step(&step(&line));
        let got: Vec<_> = got.split_whitespace().collect();
        for word in expected.split_whitespace() {
            prop_assert!(got.contains(&word), "{line}\n expected {expected}\n got {got:?}");
        }
        prop_assert_eq!(expected.contains("replayed"), got.contains(&"replayed"), "{}: {:?} {:?}", line, expected, got);
        for (who, (total_limit, store_limit)) in LIMITS.iter().enumerate() {
            let seen = world.step(&step(&format!("standing C{who}")));
            let (total, in_store) = model.owes(who);
            let online = total_limit.saturating_sub(total);
            let room = store_limit.saturating_sub(in_store).min(online);
            let blocked = if model.overdue(who) { "overdue" } else { "none" };
            let told = format!("in_store={room} online={online} exposure={total} ");
            prop_assert!(seen.starts_with(&told), "after {line}: C{who} is {seen}, the model says {told}");
            prop_assert!(seen.ends_with(&format!("blocked={blocked}")), "after {line}: C{who} is {seen}");
        }
    }
    Ok(())
}

/// Shows the code that a purchase needs; `None` where there is none to show.
fn present<C: Core>(
    world: &mut Direct<C>,
    model: &mut Model,
    mut sale: Sale,
) -> Result<Option<(String, Sale)>, TestCaseError> {
    let who = sale.who;
    let code = match sale.way {
        Way::FreshCode => {
            let at = model.codes.len();
            let issued = world.step(&step(&format!("code K{at} C{who}")));
            prop_assert_eq!(issued == "issued", !model.overdue(who), "a code for C{}: {}", who, issued);
            if issued != "issued" {
                return Ok(None);
            }
            for old in model.codes.iter_mut().filter(|old| old.who == who && old.used_by.is_none()) {
                old.voided |= model.now < old.at + 300_000;
            }
            model.codes.push(Code { who, at: model.now, voided: false, used_by: None });
            Some(at)
        }
        Way::OldCode => match model.codes.iter().rposition(|code| code.who == who) {
            Some(at) => Some(at),
            None => return Ok(None),
        },
        Way::Online | Way::Np => None,
    };
    sale.code = code;
    let (shop, order, amount) = (sale.shop, sale.order, sale.amount);
    let mut line = match code {
        Some(at) => format!("pay O-{order} M{shop} {amount} K{at}"),
        None => format!("online O-{order} M{shop} {amount} C{who}"),
    };
    for (flag, word) in [(sale.way == Way::Np, " np"), (sale.hold, " hold"), (sale.confirm, " confirm")] {
        line += if flag { word } else { "" };
    }
    Ok(Some((line, sale)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn the_core_agrees_with_the_model(acts in acts()) {
        play(&acts, Pure::new())?;
    }

    #[test]
    fn the_engine_agrees_with_the_model(acts in acts()) {
        play(&acts, Driven::new())?;
    }
}
