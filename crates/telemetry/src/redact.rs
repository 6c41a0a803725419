//! Types that print personal data masked, so that a log line cannot leak by mistake.

use std::fmt;

/// A telephone number or SIP user part: all but the first five characters and the last two are masked,
/// `+1202*****23`. Shorter ones are masked whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Number<'a>(pub &'a str);

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.chars().count();
        for (i, c) in self.0.chars().take(32).enumerate() {
            let shown = count > 8 && (i < 5 || i + 2 >= count);
            let c = if c.is_control() { '?' } else { c };
            write!(f, "{}", if shown { c } else { '*' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes from a peer (a Call-ID, a header): at most 80 characters, controls and non-ASCII as `?`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Peer<'a>(pub &'a [u8]);

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for b in self.0.iter().take(80) {
            let c = if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '?' };
            write!(f, "{c}")?;
        }
        if self.0.len() > 80 {
            f.write_str("…")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_masked() {
        assert_eq!(Number("+12025550123").to_string(), "+1202*****23");
        assert_eq!(Number("911").to_string(), "***");
        assert_eq!(format!("{:?}", Number("+1\n")), "***");
    }

    #[test]
    fn peers_cannot_forge_log_lines() {
        assert_eq!(Peer(b"a\r\nlevel=error \xff").to_string(), "a??level=error ?");
        assert_eq!(Peer(&[b'x'; 100]).to_string().chars().count(), 81);
    }
}
