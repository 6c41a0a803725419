//! For whom an API is. Below everything else: keys, tokens, sessions and paths are all of one audience.

/// Whose API it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// A customer's own things, under `/api/v1`.
    Customer,
    /// The operator's API: everything, under `/api/v1/admin`.
    Operator,
}

impl Audience {
    /// As stored with a key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Operator => "operator",
        }
    }
}
