//! Octets of a text to characters and back.

use super::coding::{Alphabet, DataCoding};
use super::gsm::{self, ESCAPE, Shift};

/// The characters of a text, without its header. What is no character of its alphabet becomes U+FFFD; `None`: the alphabet is not
/// text, or not read here.
pub fn decode(octets: &[u8], alphabet: Alphabet, shift: Shift) -> Option<String> {
    Some(match alphabet {
        Alphabet::Default => {
            let mut text = String::with_capacity(octets.len());
            let mut rest = octets.iter();
            while let Some(septet) = rest.next() {
                text.push(match *septet & 0x7F {
                    // An escape at the end stands for nothing that can be known.
                    ESCAPE => rest.next().map_or('\u{FFFD}', |next| gsm::escaped(*next, shift)),
                    septet => gsm::character(septet, shift),
                });
            }
            text
        }
        Alphabet::Ia5 => {
            octets.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '\u{FFFD}' }).collect()
        }
        Alphabet::Latin1 => octets.iter().map(|b| char::from(*b)).collect(),
        Alphabet::Cyrillic => octets.iter().map(|b| cyrillic(*b)).collect(),
        Alphabet::Hebrew => octets.iter().map(|b| hebrew(*b)).collect(),
        Alphabet::Ucs2 => {
            let units = octets.chunks(2).map(|pair| match pair {
                [high, low] => u16::from_be_bytes([*high, *low]),
                _ => 0xFFFD,
            });
            char::decode_utf16(units).map(|c| c.unwrap_or('\u{FFFD}')).collect()
        }
        Alphabet::Binary | Alphabet::Opaque => return None,
    })
}

/// A character of the upper half of ISO 8859-5.
fn cyrillic(b: u8) -> char {
    match b {
        0xA1..=0xAC | 0xAE..=0xEF | 0xF1..=0xFC | 0xFE..=0xFF => {
            char::from_u32(0x0360 + u32::from(b)).unwrap_or('\u{FFFD}')
        }
        0xF0 => '№',
        0xFD => '§',
        other => char::from(other),
    }
}

/// A character of the upper half of ISO 8859-8.
fn hebrew(b: u8) -> char {
    match b {
        0xE0..=0xFA => char::from_u32(0x04F0 + u32::from(b)).unwrap_or('\u{FFFD}'),
        0xAA => '×',
        0xBA => '÷',
        0xDF => '‗',
        0xFD => '\u{200E}',
        0xFE => '\u{200F}',
        0xA1 | 0xBF..=0xDE | 0xFB | 0xFC | 0xFF => '\u{FFFD}',
        other => char::from(other),
    }
}

/// Appends the septets of a text, one in each octet. Errors: the first character that has none; nothing was appended.
pub fn encode_gsm(text: &str, out: &mut Vec<u8>) -> Result<(), char> {
    let begin = out.len();
    for c in text.chars() {
        match gsm::septet(c) {
            Some(Ok(septet)) => out.push(septet),
            Some(Err(behind)) => out.extend_from_slice(&[ESCAPE, behind]),
            None => {
                out.truncate(begin);
                return Err(c);
            }
        }
    }
    Ok(())
}

/// Appends a text as UCS-2; characters beyond it as pairs of UTF-16.
pub fn encode_ucs2(text: &str, out: &mut Vec<u8>) {
    for unit in text.encode_utf16() {
        out.extend_from_slice(&unit.to_be_bytes());
    }
}

/// Appends a text in the cheapest alphabet that has all of it, and says which: GSM 7 bit, else UCS-2.
pub fn encode_best(text: &str, out: &mut Vec<u8>) -> DataCoding {
    match encode_gsm(text, out) {
        Ok(()) => DataCoding::DEFAULT,
        Err(_) => {
            encode_ucs2(text, out);
            DataCoding::UCS2
        }
    }
}

/// Packs septets into octets, `fill` bits after the beginning (TS 23.038 §6.1.2.1): for connectors that want packed text.
pub fn pack(septets: &[u8], fill: u32, out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0u32, fill & 7);
    for septet in septets {
        bits |= u32::from(septet & 0x7F) << held;
        held = held.saturating_add(7);
        while held >= 8 {
            out.push(u8::try_from(bits & 0xFF).unwrap_or(0));
            bits >>= 8;
            held = held.saturating_sub(8);
        }
    }
    if held > 0 {
        out.push(u8::try_from(bits & 0xFF).unwrap_or(0));
    }
}

/// Unpacks `count` septets that begin `fill` bits after the beginning; fewer when the octets end before.
pub fn unpack(octets: &[u8], fill: u32, count: usize, out: &mut Vec<u8>) {
    let end = out.len().saturating_add(count);
    let (mut bits, mut held) = (0u32, 0u32);
    let mut skip = fill & 7;
    for octet in octets {
        bits |= u32::from(*octet) << held;
        held = held.saturating_add(8);
        if skip > 0 {
            bits >>= skip;
            held = held.saturating_sub(skip);
            skip = 0;
        }
        while held >= 7 && out.len() < end {
            out.push(u8::try_from(bits & 0x7F).unwrap_or(0));
            bits >>= 7;
            held = held.saturating_sub(7);
        }
        if out.len() >= end {
            return;
        }
    }
}
