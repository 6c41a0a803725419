//! Which source addresses an account may use (T-SMS-07).

/// The source addresses of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Senders {
    /// In order, without plus.
    all: Vec<Box<[u8]>>,
}

impl Senders {
    /// Of these addresses: numbers of the world with or without plus, short codes, or letters as they are shown.
    pub fn new<T: AsRef<[u8]>>(addresses: impl IntoIterator<Item = T>) -> Senders {
        let mut all: Vec<Box<[u8]>> = addresses.into_iter().map(|a| plain(a.as_ref()).into()).collect();
        all.sort_unstable();
        all.dedup();
        Senders { all }
    }

    /// Whether this is one of them. Letters are compared as they stand: to a handset, `Bank` and `BANK` are two senders.
    pub fn owns(&self, source: &[u8]) -> bool {
        self.all.binary_search_by(|own| (**own).cmp(plain(source))).is_ok()
    }
}

/// Without the plus of a number.
fn plain(address: &[u8]) -> &[u8] {
    match address.strip_prefix(b"+") {
        Some(digits) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => digits,
        _ => address,
    }
}
