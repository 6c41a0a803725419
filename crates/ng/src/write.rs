//! Writes documents in either encoding through one set of calls. No sorting: keys go out in the order they are given,
//! as the original relay and its clients do.

/// How a document is written; a reply takes that of its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Bencode, as most proxies write it.
    #[default]
    Bencode,
    /// JSON, one object a message.
    Json,
}

/// Appends one document to a buffer.
#[derive(Debug)]
pub(crate) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    encoding: Encoding,
    comma: bool,
}

impl<'o> Writer<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>, encoding: Encoding) -> Self {
        Self { out, encoding, comma: false }
    }

    pub(crate) fn open_dict(&mut self) {
        self.open(b'd', b'{');
    }

    pub(crate) fn open_list(&mut self) {
        self.open(b'l', b'[');
    }

    pub(crate) fn close_dict(&mut self) {
        self.close(b'}');
    }

    pub(crate) fn close_list(&mut self) {
        self.close(b']');
    }

    /// A dictionary key.
    pub(crate) fn key(&mut self, key: impl AsRef<[u8]>) {
        self.text(key);
        if self.encoding == Encoding::Json {
            self.out.push(b':');
            self.comma = false;
        }
    }

    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.encoding {
            Encoding::Bencode => {
                self.decimal(text.len() as i64);
                self.out.push(b':');
                self.out.extend_from_slice(text);
            }
            Encoding::Json => {
                self.separate();
                self.out.push(b'"');
                json_text(text, self.out);
                self.out.push(b'"');
            }
        }
    }

    pub(crate) fn int(&mut self, value: i64) {
        match self.encoding {
            Encoding::Bencode => {
                self.out.push(b'i');
                self.decimal(value);
                self.out.push(b'e');
            }
            Encoding::Json => {
                self.separate();
                self.decimal(value);
            }
        }
    }

    /// Counters: beyond `i64` they stay at its maximum.
    pub(crate) fn count(&mut self, value: u64) {
        self.int(i64::try_from(value).unwrap_or(i64::MAX));
    }

    pub(crate) fn pair_text(&mut self, key: &str, text: impl AsRef<[u8]>) {
        self.key(key);
        self.text(text);
    }

    pub(crate) fn pair_int(&mut self, key: &str, value: i64) {
        self.key(key);
        self.int(value);
    }

    pub(crate) fn pair_count(&mut self, key: &str, value: u64) {
        self.key(key);
        self.count(value);
    }

    /// A list of strings; nothing at all when it is empty.
    pub(crate) fn pair_list<T: AsRef<[u8]>>(&mut self, key: &str, items: impl IntoIterator<Item = T>) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_none() {
            return;
        }
        self.key(key);
        self.open_list();
        for item in items {
            self.text(item);
        }
        self.close_list();
    }

    fn open(&mut self, bencode: u8, json: u8) {
        match self.encoding {
            Encoding::Bencode => self.out.push(bencode),
            Encoding::Json => {
                self.separate();
                self.out.push(json);
                self.comma = false;
            }
        }
    }

    fn close(&mut self, json: u8) {
        match self.encoding {
            Encoding::Bencode => self.out.push(b'e'),
            Encoding::Json => {
                self.out.push(json);
                self.comma = true;
            }
        }
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    fn decimal(&mut self, value: i64) {
        let mut digits = [0u8; 20];
        let mut used = 0usize;
        let mut rest = value.unsigned_abs();
        for slot in digits.iter_mut().rev() {
            *slot = b'0'.wrapping_add((rest % 10) as u8);
            used = used.saturating_add(1);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            self.out.push(b'-');
        }
        let from = digits.len().saturating_sub(used);
        self.out.extend_from_slice(digits.get(from..).unwrap_or_default());
    }
}

/// Escapes for JSON. Bytes that are not UTF-8 are written as the Latin-1 characters of the same number.
fn json_text(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        for b in chunk.valid().bytes() {
            match b {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0x00..=0x1F => unicode_escape(b, out),
                _ => out.push(b),
            }
        }
        for b in chunk.invalid() {
            unicode_escape(*b, out);
        }
    }
}

fn unicode_escape(b: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u00");
    for nibble in [b >> 4, b & 15] {
        out.push(if nibble < 10 {
            b'0'.wrapping_add(nibble)
        } else {
            b'a'.wrapping_add(nibble).wrapping_sub(10)
        });
    }
}
