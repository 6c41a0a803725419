//! Bytes to text: UTF-8, UTF-16 in either order, Windows-1252 (which contains Latin-1).

use std::borrow::Cow;

use super::LineError;

/// What 0x80 to 0x9F are in Windows-1252; undefined ones are U+FFFD. Latin-1 has control codes there, which no sheet uses.
const C1: [char; 32] = [
    '€', '\u{fffd}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{fffd}', 'Ž', '\u{fffd}',
    '\u{fffd}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{fffd}', 'ž', 'Ÿ',
];

/// The text and the name of its encoding.
///
/// Errors: what no encoding explains: a text with NUL, UTF-32, UTF-16 that is cut short or broken.
pub(super) fn decode(bytes: &[u8]) -> Result<(Cow<'_, str>, &'static str), LineError> {
    let wrong = |message: &str| Err(LineError::at(0, "", message));
    match bytes {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => {
            return wrong("the file is UTF-32; save it as UTF-8");
        }
        [0xFF, 0xFE, rest @ ..] => return utf_16(rest, u16::from_le_bytes, "UTF-16"),
        [0xFE, 0xFF, rest @ ..] => return utf_16(rest, u16::from_be_bytes, "UTF-16"),
        // Without a mark, the zero bytes of the first two letters tell.
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => return utf_16(bytes, u16::from_le_bytes, "UTF-16"),
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => return utf_16(bytes, u16::from_be_bytes, "UTF-16"),
        _ => {}
    }
    let (text, name) = match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text)), "UTF-8"),
        // Nothing else is left, and every byte is a letter of it.
        Err(_) => {
            let text = bytes.iter().map(|b| match b {
                0x80..=0x9F => C1.get(usize::from(b - 0x80)).copied().unwrap_or('\u{fffd}'),
                b => char::from(*b),
            });
            (Cow::Owned(text.collect::<String>()), "Latin-1 (Windows-1252)")
        }
    };
    if text.contains('\0') {
        return wrong("this is no text file: it has zero bytes");
    }
    Ok((text, name))
}

fn utf_16(
    bytes: &[u8],
    word: fn([u8; 2]) -> u16,
    name: &'static str,
) -> Result<(Cow<'static, str>, &'static str), LineError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|p| word(*p));
    let mut text = String::with_capacity(pairs.len() + 16);
    for c in char::decode_utf16(units) {
        match c {
            Ok('\0') | Err(_) => return Err(LineError::at(0, "", "the file begins as UTF-16 and is broken")),
            Ok(c) => text.push(c),
        }
    }
    if !rest.is_empty() {
        return Err(LineError::at(
            0,
            "",
            "the file is UTF-16 and cut short: half a letter is left at its end",
        ));
    }
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    Ok((Cow::Owned(text), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        let text = |b: &[u8]| decode(b).map(|(t, n)| (t.into_owned(), n));
        assert_eq!(text(b"\xef\xbb\xbfa,b").unwrap(), ("a,b".into(), "UTF-8"));
        assert_eq!(text(b"\xff\xfea\0,\0\xac\x20").unwrap(), ("a,€".into(), "UTF-16"));
        assert_eq!(text(b"\xfe\xff\0a\0,").unwrap().0, "a,");
        assert_eq!(text(b"a\0,\0b\0").unwrap().0, "a,b");
        assert_eq!(text(b"\0a\0,\0b").unwrap().0, "a,b");
        assert_eq!(text(b"Cura\xe7ao,\x80 0.1").unwrap(), ("Curaçao,€ 0.1".into(), "Latin-1 (Windows-1252)"));
        for bad in
            [&b"a\0\0\0,\0\0\0"[..], b"\xff\xfe\0\0a\0\0\0", b"\xff\xfea\0,", b"\xff\xfe\0\xd8a\0", b"a,b\0c"]
        {
            assert!(text(bad).is_err(), "{bad:?}");
        }
    }
}
