//! User data headers (3GPP TS 23.040 §9.2.3.24): what stands before a text when bit 6 of esm_class is set.

use super::gsm::{Language, Shift};

/// A header, checked to be whole: a length, then elements of identifier, length and data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udh<'a> {
    elements: &'a [u8],
}

/// Which part of a longer message this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Concatenation {
    /// Common to all parts; 8 or 16 bits.
    pub reference: u16,
    /// How many parts there are, 1 at least.
    pub total: u8,
    /// Which one this is, 1 to `total`.
    pub number: u8,
    /// Whether the reference has 16 bits: the same number in 8 bits is another reference.
    pub wide: bool,
}

impl<'a> Udh<'a> {
    /// Cuts the header off the text. `None`: its lengths are not true (T-SMS-09: refused, not guessed at).
    pub fn split(payload: &'a [u8]) -> Option<(Udh<'a>, &'a [u8])> {
        let (length, rest) = payload.split_first()?;
        let (elements, text) = rest.split_at_checked(usize::from(*length))?;
        let mut rest = elements;
        while !rest.is_empty() {
            rest = element(rest)?.2;
        }
        Some((Udh { elements }, text))
    }

    /// Identifier and data of each element, in order.
    pub fn iter(self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut rest = self.elements;
        std::iter::from_fn(move || {
            let (identifier, data, after) = element(rest)?;
            rest = after;
            Some((identifier, data))
        })
    }

    /// Octets of the header, its length octet included.
    pub fn octets(self) -> usize {
        self.elements.len().saturating_add(1)
    }

    /// Which part of a longer message it is. An element that cannot be (part 0, part 4 of 3) is as if it were not there (§9.2.3.24.1).
    pub fn concatenation(self) -> Option<Concatenation> {
        // The last one wins where there are several (§9.2.3.24).
        self.iter()
            .filter_map(|(identifier, data)| match (identifier, data) {
                (0x00, [reference, total, number]) => Some((u16::from(*reference), *total, *number, false)),
                (0x08, [high, low, total, number]) => {
                    Some((u16::from_be_bytes([*high, *low]), *total, *number, true))
                }
                _ => None,
            })
            .map(|(reference, total, number, wide)| Concatenation { reference, total, number, wide })
            .filter(|c| c.number >= 1 && c.number <= c.total)
            .last()
    }

    /// Which national tables the text is written with.
    pub fn shift(self) -> Shift {
        let mut shift = Shift::default();
        for (identifier, data) in self.iter() {
            match (identifier, data) {
                (0x24, [language]) => shift.single = Language::from_identifier(*language),
                (0x25, [language]) => shift.locking = Language::from_identifier(*language),
                _ => {}
            }
        }
        shift
    }
}

fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (identifier, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (data, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((*identifier, data, rest))
}

/// Appends a header with one concatenation element: 6 octets, or 7 with a wide reference.
pub fn write_concatenation(c: Concatenation, out: &mut Vec<u8>) {
    let [high, low] = c.reference.to_be_bytes();
    if c.wide {
        out.extend_from_slice(&[6, 0x08, 4, high, low, c.total, c.number]);
    } else {
        out.extend_from_slice(&[5, 0x00, 3, low, c.total, c.number]);
    }
}
