//! A decision's numbers, in as few bytes as they need: an unsigned LEB128 each, so 18 for usual ones and at most 32 while no sum
//! reaches 2,097,152 yen.

use super::{BadEvent, Field, Got, Out};
use crate::domain::model::basis::{Basis, Reasons};
use crate::domain::model::customer::Limits;
use crate::domain::model::money::Yen;

impl Field for Basis {
    fn put(&self, out: &mut Out<'_>) {
        let Self { limits, shop_limit, shop_cap, exposure_total, exposure_in_store, rung, .. } = *self;
        // A limit of zero is one.
        let optional = |limit: Option<Yen>| limit.map_or(0, |limit| limit.get().saturating_add(1));
        let numbers = [
            limits.total.get(),
            limits.in_store.get(),
            optional(shop_limit),
            optional(shop_cap),
            exposure_total.get(),
            exposure_in_store.get(),
            u64::from(rung),
            u64::from(self.window_count),
            self.window_sum.get(),
            u64::from(self.category),
            u64::from(self.days_overdue),
            u64::from(self.against.bits()),
        ];
        numbers.into_iter().for_each(|number| put_number(number, out));
    }

    fn get(input: &mut &[u8]) -> Got<Self> {
        let yen = |input: &mut &[u8]| get_number(input).map(Yen::new);
        Ok(Self {
            limits: Limits { total: yen(input)?, in_store: yen(input)? },
            shop_limit: get_number(input)?.checked_sub(1).map(Yen::new),
            shop_cap: get_number(input)?.checked_sub(1).map(Yen::new),
            exposure_total: yen(input)?,
            exposure_in_store: yen(input)?,
            rung: small(input)?,
            window_count: small(input)?,
            window_sum: yen(input)?,
            category: small(input)?,
            days_overdue: small(input)?,
            against: Reasons::from_bits(small(input)?).ok_or(BadEvent("no such reason"))?,
        })
    }
}

fn put_number(mut number: u64, out: &mut Out<'_>) {
    while number > 0x7f {
        out.extend(&[number.to_le_bytes()[0] | 0x80]);
        number >>= 7;
    }
    out.extend(&[number.to_le_bytes()[0]]);
}

fn get_number(input: &mut &[u8]) -> Got<u64> {
    let mut number = 0;
    for at in (0..64).step_by(7) {
        let byte = u64::from(u8::get(input)?);
        // The tenth byte has one bit.
        if at == 63 && byte > 1 {
            break;
        }
        number |= (byte & 0x7f) << at;
        match (byte & 0x80, byte, at) {
            // One number, one way to write it.
            (0, 0, 1..) => return Err(BadEvent("a number has a byte too many")),
            (0, ..) => return Ok(number),
            _ => {}
        }
    }
    Err(BadEvent("a number is out of its bounds"))
}

fn small<N: TryFrom<u64>>(input: &mut &[u8]) -> Got<N> {
    N::try_from(get_number(input)?).map_err(|_| BadEvent("a number is out of its bounds"))
}

#[cfg(test)]
pub(super) fn example() -> Basis {
    use crate::domain::model::denial::Reason;
    Basis {
        limits: Limits { total: Yen::new(50_000), in_store: Yen::new(15_000) },
        shop_limit: Some(Yen::new(3_000)),
        shop_cap: None,
        exposure_total: Yen::new(21_980),
        exposure_in_store: Yen::new(1_980),
        rung: 3,
        window_count: 2,
        window_sum: Yen::new(3_960),
        category: 1,
        days_overdue: 300,
        against: Reasons::default().with(Reason::CodeUsed).with(Reason::Overdue),
    }
}

#[cfg(test)]
mod tests {
    use super::super::written;
    use super::*;
    use crate::domain::model::denial::Reason;

    fn basis(yen: u64) -> Basis {
        let yen = Yen::new(yen);
        Basis {
            limits: Limits { total: yen, in_store: yen },
            shop_limit: Some(yen),
            shop_cap: Some(yen),
            exposure_total: yen,
            exposure_in_store: yen,
            rung: 31,
            window_count: 16_383,
            window_sum: yen,
            category: 255,
            days_overdue: 16_383,
            against: Reason::ALL.into_iter().fold(Reasons::default(), Reasons::with),
        }
    }

    fn bytes(basis: &Basis) -> Vec<u8> {
        let mut bytes = Vec::new();
        written(basis, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn any_numbers_come_back_and_usual_ones_are_short() {
        for yen in [0, 1, 127, 128, 50_000, 2_097_150, u64::from(u32::MAX), u64::MAX - 1] {
            let (basis, none) =
                (basis(yen), Basis { shop_limit: None, shop_cap: None, against: Reasons::default(), ..basis(yen) });
            for basis in [basis, none] {
                let bytes = bytes(&basis);
                assert_eq!(Basis::get(&mut bytes.as_slice()), Ok(basis), "{yen}");
                assert!(yen > 2_097_150 || bytes.len() <= 32, "{yen}: {} bytes", bytes.len());
            }
        }
        let usual = Basis {
            limits: Limits { total: Yen::new(50_000), in_store: Yen::new(15_000) },
            shop_limit: None,
            shop_cap: None,
            exposure_total: Yen::new(12_345),
            exposure_in_store: Yen::new(12_345),
            rung: 3,
            window_count: 2,
            window_sum: Yen::new(3_960),
            category: 0,
            days_overdue: 0,
            against: Reasons::default(),
        };
        assert_eq!(bytes(&usual).len(), 18);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for wrong in
            [&[0x80][..], &[0x80, 0x00], &[0xff; 10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]]
        {
            assert!(get_number(&mut &*wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(get_number(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1][..]), Ok(u64::MAX));
    }
}
