//! What somebody may do: a closed list of permissions, and the roles that are made of them. Scopes of keys, roles of users,
//! the OpenAPI documents and `docs/reference/permissions.md` come from the table in here and from nowhere else.
//!
//! A scope of a key is the word of a permission, or `*`: everything of the key's audience. A scope that was split keeps what it
//! could ([`Permission::includes`]), so that keys of before go on.

use super::caller::Audience;

crate::choice! {
    /// What a user of a customer is there.
    pub enum CustomerRole {
        /// Everything, and who else may do what.
        Owner = "owner",
        /// Everything in daily work: trunks, users and keys.
        Admin = "admin",
        /// Trunks and calls; no users, and keys to look at only.
        Engineer = "engineer",
        /// Calls and accounts; changes nothing about calls.
        Billing = "billing",
        /// Looks, and changes nothing.
        ReadOnly = "read_only",
    }
}

crate::choice! {
    /// What a user of the carrier is there.
    pub enum OperatorRole {
        /// Everything, and who else may do what.
        Admin = "admin",
        /// Vendors, decks and routes.
        Routing = "routing",
        /// Customers, accounts and decks.
        Billing = "billing",
        /// Keeps calls going: trunks, vendors back into rotation, exclusions.
        Noc = "noc",
        /// Looks at everything of a customer to help it.
        Support = "support",
        /// Looks, and changes nothing.
        ReadOnly = "read_only",
    }
}

/// What a user is: a role of one audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Of a user of a customer.
    Customer(CustomerRole),
    /// Of a user of the carrier.
    Operator(OperatorRole),
}

impl Role {
    /// The role that a word means in an audience; `None` for any other text.
    pub fn parse(audience: Audience, word: &str) -> Option<Self> {
        match audience {
            Audience::Customer => CustomerRole::parse(word).map(Self::Customer),
            Audience::Operator => OperatorRole::parse(word).map(Self::Operator),
        }
    }

    /// All roles of an audience, in the order of their declaration.
    pub fn all(audience: Audience) -> impl Iterator<Item = Self> {
        let words = match audience {
            Audience::Customer => CustomerRole::WORDS,
            Audience::Operator => OperatorRole::WORDS,
        };
        words.iter().filter_map(move |w| Self::parse(audience, w))
    }

    /// The word as it stands in JSON, in rows and in claims.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer(role) => role.as_str(),
            Self::Operator(role) => role.as_str(),
        }
    }

    /// Whose user has it.
    pub fn audience(self) -> Audience {
        match self {
            Self::Customer(_) => Audience::Customer,
            Self::Operator(_) => Audience::Operator,
        }
    }

    /// Everything that the role may.
    pub fn permissions(self) -> Permissions {
        let held = Permission::ALL.iter().filter(|p| p.is_of(self));
        held.fold(Permissions::NONE, |all, p| all.with(*p))
    }
}

macro_rules! permissions {
    ($(
        $(#[doc = $doc:literal])* $name:ident = $text:literal,
        customers [$($customer:ident)*], operators [$($operator:ident)*] $(, includes [$($part:ident)*])?;
    )*) => {
        /// Everything that can be allowed. Each endpoint names one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Permission { $($(#[doc = $doc])* $name),* }

        impl Permission {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What a scope can be: the words of all permissions, and `*` for everything of an audience.
            pub const SCOPES: &'static [&'static str] = &["*", $($text),*];

            /// Its word, which is a scope of keys.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// What it allows, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_ascii()),* }
            }

            /// Parts of it that became permissions of their own.
            pub const fn includes(self) -> &'static [Self] {
                match self { $(Self::$name => &[$($(Self::$part),*)?]),* }
            }

            /// The roles of customers that have it.
            const fn customers(self) -> &'static [CustomerRole] {
                match self { $(Self::$name => &[$(CustomerRole::$customer),*]),* }
            }

            /// The roles of operators that have it.
            const fn operators(self) -> &'static [OperatorRole] {
                match self { $(Self::$name => &[$(OperatorRole::$operator),*]),* }
            }
        }
    };
}

permissions! {
    /// Read customers and their billing accounts.
    CustomersRead = "customers:read",
        customers [Owner Admin Engineer Billing ReadOnly], operators [Admin Routing Billing Noc Support ReadOnly];
    /// Look through a customer's eyes for half an hour; the audit log and the customer see who and why.
    ViewsWrite = "views:write", customers [], operators [Admin Support];
    /// Make and change customers and billing accounts.
    CustomersWrite = "customers:write", customers [], operators [Admin Billing];
    /// Read trunks, their addresses and digest users.
    TrunksRead = "trunks:read",
        customers [Owner Admin Engineer Billing ReadOnly], operators [Admin Routing Billing Noc Support ReadOnly];
    /// Make, change and delete trunks, their addresses and digest users.
    TrunksWrite = "trunks:write", customers [Owner Admin Engineer], operators [Admin Noc];
    /// Read numbers, and what inbound calls go by.
    NumbersRead = "numbers:read",
        customers [Owner Admin Engineer Billing ReadOnly], operators [Admin Routing Billing Noc Support ReadOnly];
    /// Say where calls to numbers go; for operators also make, assign and release numbers, and what inbound calls go by.
    NumbersWrite = "numbers:write", customers [Owner Admin Engineer], operators [Admin Routing Noc];
    /// Read vendors and their trunks, and where these stand.
    VendorsRead = "vendors:read", customers [], operators [Admin Routing Billing Noc Support ReadOnly];
    /// Make, change and delete vendors, their trunks and the route of emergency calls.
    VendorsWrite = "vendors:write", customers [], operators [Admin Routing], includes [VendorsReset];
    /// Put a vendor trunk that is down back into rotation.
    VendorsReset = "vendors:reset", customers [], operators [Admin Routing Noc];
    /// Read rate decks, and check sheets against them.
    DecksRead = "decks:read", customers [], operators [Admin Routing Billing ReadOnly];
    /// Upload rate sheets, and put versions of decks into force.
    DecksWrite = "decks:write", customers [], operators [Admin Routing Billing];
    /// Read partitions, exclusions, overrides, blocks and exchange rates.
    RoutingRead = "routing:read", customers [], operators [Admin Routing Billing Noc Support ReadOnly];
    /// Change partitions and exchange rates, exclude vendors, override routing and block calls for a time.
    RoutingWrite = "routing:write", customers [], operators [Admin Routing Noc];
    /// Read calls: their legs, their price and why they went where they went.
    CallsRead = "calls:read",
        customers [Owner Admin Engineer Billing ReadOnly], operators [Admin Routing Billing Noc Support ReadOnly];
    /// Hang up a call in the air, both ways.
    CallsHangUp = "calls:hang_up", customers [Owner Admin Engineer], operators [Admin Noc];
    /// Read messages without their texts, and SMPP accounts.
    MessagesRead = "messages:read",
        customers [Owner Admin Engineer Billing ReadOnly], operators [Admin Routing Billing Noc Support ReadOnly];
    /// Send messages; for operators also make and change SMPP accounts.
    MessagesWrite = "messages:write", customers [Owner Admin Engineer], operators [Admin Noc];
    /// Read what was written in a message. Each look is in the audit log.
    MessagesContent = "messages:content", customers [Owner Admin], operators [Admin];
    /// Read what billing accounts have, and the postings of their ledgers.
    LedgerRead = "ledger:read",
        customers [Owner Admin Billing ReadOnly], operators [Admin Routing Billing Noc Support ReadOnly];
    /// Book top-ups, adjustments and reversals.
    LedgerWrite = "ledger:write", customers [], operators [Admin Billing];
    /// Read events, also as a stream.
    EventsRead = "events:read",
        customers [Owner Admin Engineer Billing ReadOnly], operators [Admin Routing Billing Noc Support ReadOnly];
    /// Read webhooks and what became of their deliveries.
    WebhooksRead = "webhooks:read",
        customers [Owner Admin Engineer ReadOnly], operators [Admin Noc Support ReadOnly];
    /// Make, change and delete webhooks, give them new secrets, and send deliveries again.
    WebhooksWrite = "webhooks:write", customers [Owner Admin Engineer], operators [Admin Noc];
    /// Read jobs and what came of them; the file of an export only together with `calls:read`.
    JobsRead = "jobs:read",
        customers [Owner Admin Engineer Billing ReadOnly], operators [Admin Routing Billing Noc Support ReadOnly];
    /// Begin, cancel, repeat and delete jobs; an export of calls only together with `calls:read`.
    JobsWrite = "jobs:write", customers [Owner Admin Engineer Billing], operators [Admin Routing Billing Noc];
    /// Ask how a call would go. Nothing is dialled.
    RouteTest = "route:test",
        customers [Owner Admin Engineer ReadOnly], operators [Admin Routing Billing Noc Support ReadOnly];
    /// Read API keys, without their secrets.
    KeysRead = "keys:read", customers [Owner Admin Engineer], operators [Admin Support];
    /// Make, change, rotate and revoke API keys.
    KeysWrite = "keys:write", customers [Owner Admin], operators [Admin];
    /// Read who may come in, and as what.
    UsersRead = "users:read", customers [Owner Admin], operators [Admin Support];
    /// Make, change and delete users. Nobody makes one who may more than himself.
    UsersWrite = "users:write", customers [Owner Admin], operators [Admin];
    /// Read the audit log.
    AuditRead = "audit:read", customers [Owner Admin], operators [Admin Noc Support ReadOnly], includes [DocsRead];
    /// Read the OpenAPI document of the operators' API.
    DocsRead = "docs:read", customers [], operators [Admin Routing Billing Noc Support ReadOnly];
    /// Do with a key, without a person, what else wants a second factor. Only a person who has shown one may grant it, and the key
    /// must be bound to addresses. `*` is without it.
    SensitiveUnattended = "sensitive:unattended", customers [Owner], operators [Admin];
}

impl Permission {
    /// The permission of a word.
    ///
    /// # Panics
    /// There is none of this word: then a declaration does not compile, or the program does not start (T-API-01).
    pub const fn named(word: &str) -> Self {
        let mut i = 0;
        while i < Self::ALL.len() {
            if crate::noun::same(Self::ALL[i].as_str(), word) {
                return Self::ALL[i];
            }
            i += 1;
        }
        panic!("an endpoint names a permission that is not declared")
    }

    /// The permission of a word; `None` for any other text.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|p| p.as_str() == word)
    }

    /// Whether a role has it.
    pub fn is_of(self, role: Role) -> bool {
        match role {
            Role::Customer(role) => self.customers().contains(&role),
            Role::Operator(role) => self.operators().contains(&role),
        }
    }

    /// Whether a person must have shown a second factor a short while ago: keys, users and money.
    pub const fn is_sensitive(self) -> bool {
        matches!(self, Self::KeysWrite | Self::UsersWrite | Self::LedgerWrite)
    }

    const fn bit(self) -> u64 {
        1 << (self as u32)
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions(u64);

const _: () = assert!(Permission::ALL.len() <= 64, "a permission is one bit of 64");

impl Permissions {
    /// The set with no permission in it.
    pub const NONE: Self = Self(0);

    /// The set of all permissions.
    pub fn all() -> Self {
        Permission::ALL.iter().fold(Self::NONE, |all, p| all.with(*p))
    }

    /// What the scopes of a key allow. A word that is no scope any more allows nothing.
    pub fn of_scopes<'s>(scopes: impl IntoIterator<Item = &'s str>) -> Self {
        scopes.into_iter().fold(Self::NONE, |all, scope| match scope {
            "*" => all.or(Self::all().without(Permission::SensitiveUnattended)),
            word => Permission::parse(word).map_or(all, |p| all.with(p)),
        })
    }

    /// The same with one more, and with the parts of it.
    pub fn with(self, permission: Permission) -> Self {
        let own = Self(self.0 | permission.bit());
        permission.includes().iter().fold(own, |all, part| all.with(*part))
    }

    /// Whether this one is among them.
    pub fn has(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether all of the others are among them.
    pub fn cover(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// Every one that some role of this audience has.
    pub fn of_audience(audience: Audience) -> Self {
        Role::all(audience).fold(Self::NONE, |all, role| all.or(role.permissions()))
    }

    /// Those that are in both.
    pub fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// The same without one of them.
    pub fn without(self, permission: Permission) -> Self {
        Self(self.0 & !permission.bit())
    }

    /// Those that are in one of them, or in both.
    pub fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_role_of_each_audience_has_all_that_any_role_has() {
        for audience in [Audience::Customer, Audience::Operator] {
            let first = Role::all(audience).next().unwrap().permissions();
            for role in Role::all(audience) {
                assert!(first.cover(role.permissions()), "{}", role.as_str());
            }
        }
    }

    #[test]
    fn t_api_05_who_only_looks_changes_nothing_and_no_customer_has_what_is_the_carriers() {
        let writes = Permission::ALL.iter().filter(|p| !p.as_str().ends_with(":read"));
        for p in writes.filter(|p| **p != Permission::RouteTest) {
            assert!(!p.is_of(Role::Customer(CustomerRole::ReadOnly)), "{}", p.as_str());
            assert!(!p.is_of(Role::Operator(OperatorRole::ReadOnly)), "{}", p.as_str());
            let looks = *p == Permission::ViewsWrite;
            assert_eq!(p.is_of(Role::Operator(OperatorRole::Support)), looks, "{}", p.as_str());
        }
        for p in
            [Permission::VendorsRead, Permission::DecksRead, Permission::RoutingRead, Permission::DocsRead]
        {
            assert!(p.customers().is_empty(), "{}", p.as_str());
        }
    }

    #[test]
    fn scopes_of_before_mean_what_they_meant() {
        let of = |scope: &str| Permissions::of_scopes([scope]);
        assert!(of("vendors:write").has(Permission::VendorsReset));
        assert!(of("audit:read").has(Permission::DocsRead));
        assert!(!of("vendors:reset").has(Permission::VendorsWrite));
        assert_eq!(of("gone:read"), Permissions::NONE);
        for p in Permission::ALL {
            assert_eq!(of("*").has(*p), *p != Permission::SensitiveUnattended, "{}", p.as_str());
        }
        assert!(Permissions::of_scopes(["sensitive:unattended", "*"]).cover(Permissions::all()));
    }
}
