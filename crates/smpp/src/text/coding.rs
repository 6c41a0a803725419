//! `data_coding` (SMPP 3.4 §5.2.19; groups from 0x10 on: TS 23.038 §4).

/// The octet that says how a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DataCoding(pub u8);

/// How the octets of a text are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// The default of the message centre: GSM 7 bit, one septet in each octet, unless a connector says otherwise.
    Default,
    /// The 7 bits of ASCII (IA5).
    Ia5,
    /// Octets that are no text.
    Binary,
    /// ISO 8859-1, the Latin alphabet.
    Latin1,
    /// ISO 8859-5, the Cyrillic alphabet.
    Cyrillic,
    /// ISO 8859-8, the Hebrew alphabet.
    Hebrew,
    /// UCS-2 big endian; in practice UTF-16.
    Ucs2,
    /// One that goes through unread: JIS, pictograms, Kanji, KS C 5601, reserved values.
    Opaque,
}

impl DataCoding {
    /// The default of the message centre.
    pub const DEFAULT: DataCoding = DataCoding(0);
    /// ISO 8859-1, one octet a character.
    pub const LATIN1: DataCoding = DataCoding(3);
    /// UCS-2 big endian, two octets a character.
    pub const UCS2: DataCoding = DataCoding(8);

    /// The alphabet that it stands for.
    pub const fn alphabet(self) -> Alphabet {
        match self.0 {
            0 => Alphabet::Default,
            1 => Alphabet::Ia5,
            2 | 4 => Alphabet::Binary,
            3 => Alphabet::Latin1,
            6 => Alphabet::Cyrillic,
            7 => Alphabet::Hebrew,
            8 => Alphabet::Ucs2,
            // Message class in the low bits; alphabet in bits 3-2 (TS 23.038 §4, general data coding, uncompressed).
            0x10..=0x1F => match self.0 & 0x0C {
                0x00 => Alphabet::Default,
                0x04 => Alphabet::Binary,
                0x08 => Alphabet::Ucs2,
                _ => Alphabet::Opaque,
            },
            0xF0..=0xFF if self.0 & 0x08 == 0 => {
                if self.0 & 0x04 == 0 {
                    Alphabet::Default
                } else {
                    Alphabet::Binary
                }
            }
            _ => Alphabet::Opaque,
        }
    }

    /// The message class (0: shown at once and not kept), when it has one.
    pub const fn class(self) -> Option<u8> {
        match self.0 {
            0x10..=0x1F | 0xF0..=0xFF => Some(self.0 & 0x03),
            _ => None,
        }
    }
}

impl Alphabet {
    /// Units that one message holds, and each of several with a header of `udh` octets (its length octet included): septets for the
    /// default, octets for all others.
    pub const fn capacity(self, udh: usize) -> usize {
        match self {
            // 140 octets are 160 septets; a header is filled up to a whole septet.
            Alphabet::Default => 140usize.saturating_sub(udh).saturating_mul(8) / 7,
            Alphabet::Ucs2 => 140usize.saturating_sub(udh) / 2 * 2,
            _ => 140usize.saturating_sub(udh),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_those_of_ts_23_040() {
        let of = |a: Alphabet| [a.capacity(0), a.capacity(6), a.capacity(7)];
        assert_eq!(of(Alphabet::Default), [160, 153, 152]);
        assert_eq!(of(Alphabet::Ucs2), [140, 134, 132], "70, 67 and 66 characters");
        assert_eq!(of(Alphabet::Binary), [140, 134, 133]);
    }

    #[test]
    fn message_classes_and_their_alphabets() {
        assert_eq!((DataCoding(0xF0).alphabet(), DataCoding(0xF0).class()), (Alphabet::Default, Some(0)));
        assert_eq!((DataCoding(0xF5).alphabet(), DataCoding(0xF5).class()), (Alphabet::Binary, Some(1)));
        assert_eq!((DataCoding(0x18).alphabet(), DataCoding(0x18).class()), (Alphabet::Ucs2, Some(0)));
        assert_eq!((DataCoding(8).alphabet(), DataCoding(8).class()), (Alphabet::Ucs2, None));
        for opaque in [5, 9, 10, 13, 14, 0x1C, 0x20, 0xF8, 0xE0] {
            assert_eq!(DataCoding(opaque).alphabet(), Alphabet::Opaque, "{opaque:#x}");
        }
    }
}
