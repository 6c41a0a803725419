//! G.711 (ITU-T G.711, 11/1988): 16-bit linear samples to µ-law and A-law bytes, and back.
//!
//! A G.711 value has 14 bits (µ-law) or 13 (A-law); a sample here is that value moved to the top of 16 bits.

/// Added to a magnitude so that all segments of µ-law are powers of two.
const BIAS: u16 = 0x84;
/// The largest magnitude that µ-law can tell from a larger one.
const CLIP: u16 = 32_635;

/// Number of the highest segment that a magnitude reaches, with segment 0 below 2⁸.
fn segment(magnitude: u16) -> u8 {
    let highest = 15u32.saturating_sub(u32::from(magnitude).leading_zeros().saturating_sub(16));
    u8::try_from(highest.saturating_sub(7)).unwrap_or(7)
}

/// A sample in µ-law.
pub fn to_pcmu(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs().min(CLIP).saturating_add(BIAS);
    let segment = segment(magnitude);
    let step = magnitude.wrapping_shr(u32::from(segment).wrapping_add(3)) as u8 & 0x0F;
    !(sign | segment << 4 | step)
}

/// A µ-law byte as a sample.
pub fn from_pcmu(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = (u16::from(byte & 0x0F) << 3).wrapping_add(BIAS);
    let magnitude = magnitude.wrapping_shl(u32::from(byte >> 4 & 7)).wrapping_sub(BIAS);
    signed(byte & 0x80 != 0, magnitude)
}

/// A sample in A-law.
pub fn to_pcma(sample: i16) -> u8 {
    let (sign, magnitude) = match sample < 0 {
        true => (0, !sample as u16),
        false => (0x80, sample as u16),
    };
    let segment = segment(magnitude);
    let shift = u32::from(segment.max(1)).wrapping_add(3);
    let step = magnitude.wrapping_shr(shift) as u8 & 0x0F;
    (sign | segment << 4 | step) ^ 0x55
}

/// An A-law byte as a sample.
pub fn from_pcma(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let step = (u16::from(byte & 0x0F) << 4).wrapping_add(8);
    let magnitude = match byte >> 4 & 7 {
        0 => step,
        segment => step.wrapping_add(0x100).wrapping_shl(u32::from(segment).wrapping_sub(1)),
    };
    signed(byte & 0x80 == 0, magnitude)
}

/// Magnitudes of either law are below 2¹⁵.
fn signed(is_negative: bool, magnitude: u16) -> i16 {
    let value = i16::try_from(magnitude).unwrap_or(i16::MAX);
    if is_negative { value.wrapping_neg() } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables 2a and 2b of G.711: the first and the last value of each segment, by its character signal.
    #[test]
    fn mu_law_has_the_values_of_itu_t_g_711() {
        let table = [
            (0x80, 8_031),
            (0x8F, 4_191),
            (0x90, 3_999),
            (0x9F, 2_079),
            (0xA0, 1_983),
            (0xAF, 1_023),
            (0xB0, 975),
            (0xBF, 495),
            (0xC0, 471),
            (0xCF, 231),
            (0xD0, 219),
            (0xDF, 99),
            (0xE0, 93),
            (0xEF, 33),
            (0xF0, 30),
            (0xFE, 2),
            (0xFF, 0),
        ];
        for (byte, value) in table {
            assert_eq!((from_pcmu(byte), from_pcmu(byte & 0x7F)), (value * 4, value * -4), "{byte:#x}");
        }
        // Decision values: 31, 95, 223, 479, 991, 2015, 4063 part the segments.
        for (at, below, above) in [
            (31, 0xF0, 0xEF),
            (95, 0xE0, 0xDF),
            (223, 0xD0, 0xCF),
            (479, 0xC0, 0xBF),
            (991, 0xB0, 0xAF),
            (2_015, 0xA0, 0x9F),
            (4_063, 0x90, 0x8F),
        ] {
            assert_eq!((to_pcmu(at * 4 - 1), to_pcmu(at * 4)), (below, above), "{at}");
        }
        assert_eq!((to_pcmu(i16::MAX), to_pcmu(i16::MIN), to_pcmu(0)), (0x80, 0x00, 0xFF));
    }

    /// Tables 1a and 1b of G.711, even bits inverted.
    #[test]
    fn a_law_has_the_values_of_itu_t_g_711() {
        let table = [
            (0xFF, 4_032),
            (0xF0, 2_112),
            (0xEF, 2_016),
            (0xE0, 1_056),
            (0xDF, 1_008),
            (0xD0, 528),
            (0xCF, 504),
            (0xC0, 264),
            (0xBF, 252),
            (0xB0, 132),
            (0xAF, 126),
            (0xA0, 66),
            (0x9F, 63),
            (0x90, 33),
            (0x8F, 31),
            (0x80, 1),
        ];
        for (character, value) in table {
            let byte = character ^ 0x55;
            assert_eq!((from_pcma(byte), from_pcma(byte ^ 0x80)), (value * 8, value * -8), "{character:#x}");
        }
        for (at, below, above) in [
            (64, 0x9F, 0xA0),
            (128, 0xAF, 0xB0),
            (256, 0xBF, 0xC0),
            (512, 0xCF, 0xD0),
            (1_024, 0xDF, 0xE0),
            (2_048, 0xEF, 0xF0),
        ] {
            assert_eq!((to_pcma(at * 8 - 1) ^ 0x55, to_pcma(at * 8) ^ 0x55), (below, above), "{at}");
        }
        assert_eq!((to_pcma(i16::MAX), to_pcma(i16::MIN), to_pcma(0)), (0xAA, 0x2A, 0xD5));
    }

    #[test]
    fn what_was_decoded_is_encoded_as_it_was() {
        for byte in 0..=255 {
            // Minus nothing is nothing.
            let same = if byte == 0x7F { 0xFF } else { byte };
            assert_eq!(to_pcmu(from_pcmu(byte)), same);
            assert_eq!(to_pcma(from_pcma(byte)), byte);
        }
        // No sample is further from its code than half a step of its segment.
        for sample in i16::MIN..=i16::MAX {
            for decoded in [from_pcmu(to_pcmu(sample)), from_pcma(to_pcma(sample))] {
                let off = (i32::from(sample) - i32::from(decoded)).abs();
                assert!(off <= (i32::from(sample).abs() / 32).max(8) + 1 || off <= 644, "{sample} {decoded}");
            }
        }
    }
}
