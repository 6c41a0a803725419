//! Lower-case hexadecimal, in one place: content addresses, nonces, digests and branches are written with it.

/// The bytes as lower-case hexadecimal digits, two for each byte.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for b in bytes {
        text.push(char::from(digit(b >> 4)));
        text.push(char::from(digit(b & 15)));
    }
    text
}

/// The digit of a number below 16, lower case. Only the low four bits count.
pub fn digit(n: u8) -> u8 {
    match n & 15 {
        n @ 0..=9 => b'0' | n,
        n => b'a'.wrapping_add(n.wrapping_sub(10)),
    }
}

/// The value of one lower-case digit; `None` for anything else, upper case too: what we wrote ourselves is lower case.
pub fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

/// Exactly `N` bytes from `2 · N` lower-case digits; `None` when there are more, fewer or other characters.
pub fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    if pairs.len() != N {
        return None;
    }
    let mut out = [0; N];
    for (to, [high, low]) in out.iter_mut().zip(pairs) {
        *to = value(*high)? << 4 | value(*low)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is() {
        let all: Vec<u8> = (0..=255).collect();
        let text = encode(&all);
        assert_eq!(&text[..8], "00010203");
        assert_eq!(&text[504..], "fcfdfeff");
        assert_eq!(decode::<256>(text.as_bytes()).map(|b| b.to_vec()), Some(all));
        for bad in ["0", "000", "0000", "0g", "0G", "0A", " 0", "-1"] {
            assert_eq!(decode::<1>(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(decode::<1>(b"9f"), Some([0x9f]));
    }
}
