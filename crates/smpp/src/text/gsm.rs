//! The tables of GSM 7 bit: default alphabet and its extension (3GPP TS 23.038 §6.2.1), national tables (annex A).

/// The default alphabet by septet; 0x1B is the escape to the extension table.
pub(crate) const DEFAULT: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å', //
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\u{1B}', 'Æ', 'æ', 'ß', 'É', //
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/', //
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?', //
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', //
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§', //
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', //
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];

/// The septet that leads to the extension table.
pub const ESCAPE: u8 = 0x1B;

/// What stands behind an escape.
pub(crate) const EXTENSION: &[(u8, char)] = &[
    (0x0A, '\u{0C}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2F, '\\'),
    (0x3C, '['),
    (0x3D, '~'),
    (0x3E, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

/// A language with tables of its own (TS 23.038 §6.2.1.2.4: national language identifier).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Identifier 1: the Turkish language.
    Turkish,
    /// Identifier 2: Spanish, a single shift table only.
    Spanish,
    /// Identifier 3: the Portuguese language.
    Portuguese,
}

impl Language {
    /// From the identifier of the information elements 0x24 and 0x25; `None` for languages whose tables are not carried.
    pub const fn from_identifier(n: u8) -> Option<Language> {
        match n {
            1 => Some(Language::Turkish),
            2 => Some(Language::Spanish),
            3 => Some(Language::Portuguese),
            _ => None,
        }
    }

    /// Where the single shift table differs from the extension table (annex A.2).
    const fn single(self) -> &'static [(u8, char)] {
        match self {
            Language::Turkish => {
                &[(0x47, 'Ğ'), (0x49, 'İ'), (0x53, 'Ş'), (0x63, 'ç'), (0x67, 'ğ'), (0x69, 'ı'), (0x73, 'ş')]
            }
            Language::Spanish => &[
                (0x09, 'ç'),
                (0x41, 'Á'),
                (0x49, 'Í'),
                (0x4F, 'Ó'),
                (0x55, 'Ú'),
                (0x61, 'á'),
                (0x69, 'í'),
                (0x6F, 'ó'),
                (0x75, 'ú'),
            ],
            Language::Portuguese => &[
                (0x05, 'ê'),
                (0x09, 'ç'),
                (0x0B, 'Ô'),
                (0x0C, 'ô'),
                (0x0E, 'Á'),
                (0x0F, 'á'),
                (0x12, 'Φ'),
                (0x13, 'Γ'),
                (0x15, 'Ω'),
                (0x16, 'Π'),
                (0x17, 'Ψ'),
                (0x18, 'Σ'),
                (0x19, 'Θ'),
                (0x1F, 'Ê'),
                (0x41, 'À'),
                (0x49, 'Í'),
                (0x4F, 'Ó'),
                (0x55, 'Ú'),
                (0x5B, 'Ã'),
                (0x5C, 'Õ'),
                (0x61, 'Â'),
                (0x69, 'í'),
                (0x6F, 'ó'),
                (0x75, 'ú'),
                (0x7B, 'ã'),
                (0x7C, 'õ'),
                (0x7F, 'â'),
            ],
        }
    }

    /// Where the locking shift table differs from the default alphabet (annex A.3).
    const fn locking(self) -> &'static [(u8, char)] {
        match self {
            Language::Turkish => &[
                (0x04, '€'),
                (0x07, 'ı'),
                (0x0B, 'Ğ'),
                (0x0C, 'ğ'),
                (0x1C, 'Ş'),
                (0x1D, 'ş'),
                (0x40, 'İ'),
                (0x60, 'ç'),
            ],
            Language::Spanish => &[],
            Language::Portuguese => &[
                (0x04, 'ê'),
                (0x06, 'ú'),
                (0x07, 'í'),
                (0x08, 'ó'),
                (0x09, 'ç'),
                (0x0B, 'Ô'),
                (0x0C, 'ô'),
                (0x0E, 'Á'),
                (0x0F, 'á'),
                (0x12, 'ª'),
                (0x13, 'Ç'),
                (0x14, 'À'),
                (0x15, '∞'),
                (0x16, '^'),
                (0x17, '\\'),
                (0x18, '€'),
                (0x19, 'Ó'),
                (0x1A, '|'),
                (0x1C, 'Â'),
                (0x1D, 'â'),
                (0x1E, 'Ê'),
                (0x24, 'º'),
                (0x40, 'Í'),
                (0x5B, 'Ã'),
                (0x5C, 'Õ'),
                (0x5D, 'Ú'),
                (0x60, '~'),
                (0x7B, 'ã'),
                (0x7C, 'õ'),
                (0x7D, '`'),
            ],
        }
    }
}

/// Which national tables a text is written with (information elements 0x24 and 0x25 of its header).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Shift {
    /// What stands behind an escape.
    pub single: Option<Language>,
    /// What replaces the whole alphabet.
    pub locking: Option<Language>,
}

fn find(table: &[(u8, char)], septet: u8) -> Option<char> {
    table.iter().find(|(s, _)| *s == septet).map(|(_, c)| *c)
}

/// The character of a septet (its high bit is not looked at).
pub(crate) fn character(septet: u8, shift: Shift) -> char {
    let septet = septet & 0x7F;
    let national = shift.locking.and_then(|language| find(language.locking(), septet));
    national.unwrap_or_else(|| DEFAULT.get(usize::from(septet)).copied().unwrap_or(' '))
}

/// The character behind an escape. What is in no table is that of the default alphabet (§6.2.1.1, note 1).
pub(crate) fn escaped(septet: u8, shift: Shift) -> char {
    let septet = septet & 0x7F;
    let national = shift.single.and_then(|language| find(language.single(), septet));
    national.or_else(|| find(EXTENSION, septet)).unwrap_or_else(|| match septet {
        // An escape behind an escape is a blank, until there is a second extension table.
        ESCAPE => ' ',
        other => character(other, shift),
    })
}

/// The septet of a character in the default alphabet; `Err` with that behind an escape.
pub(crate) fn septet(c: char) -> Option<Result<u8, u8>> {
    if c == '\u{1B}' {
        return None;
    }
    // Most are themselves.
    if matches!(c, ' '..='#' | '%'..='?' | 'A'..='Z' | 'a'..='z') {
        return u8::try_from(u32::from(c)).ok().map(Ok);
    }
    if let Some(at) = DEFAULT.iter().position(|d| *d == c) {
        return u8::try_from(at).ok().map(Ok);
    }
    EXTENSION.iter().find(|(_, e)| *e == c).map(|(s, _)| Err(*s))
}
