//! Routes of short messages: the model, the table, and the decision.
//!
//! A table is made once and read by every message. Routes are found by who sends and by the digits with which the destination begins,
//! so that a table of thousands costs a message a few look-ups and not a walk; filters are evaluated for those alone, the highest order first.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use warp_model::{Money, Wall};

use super::pattern::Pattern;

/// Which way the messages of a table go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From customers to handsets (MT).
    Terminated,
    /// From handsets to customers (MO).
    Originated,
}

/// Something that a route leads to: a vendor, or an account or HTTP client of a customer.
pub trait Target: Copy + PartialEq + fmt::Debug {}
impl<T: Copy + PartialEq + fmt::Debug> Target for T {}

/// What a message must be like. All filters of a route must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Any message fits it.
    Transparent,
    /// Sent by the account of this place. MT only.
    User(usize),
    /// Sent by an account of the group of this place. MT only.
    Group(usize),
    /// Came from the vendor of this place. MO only.
    Connector(usize),
    /// The source address fits a pattern.
    Source(Pattern),
    /// The destination address, without plus, fits a pattern.
    Destination(Pattern),
    /// The text; one that is no text fits no pattern.
    Text(Pattern),
    /// Taken on one of these days (UTC): days since 1970-01-01, both included.
    Dates(i64, i64),
    /// Taken at this time of the day (UTC): seconds since midnight, both included. When the first is later than the second, the time goes
    /// over midnight.
    Times(u32, u32),
    /// Labelled so. MT only.
    Tag(String),
}

/// How a route chooses among its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is one target.
    Static,
    /// Each has the same share; the choice follows from the message alone.
    RandomRoundRobin,
    /// The first that can be reached.
    Failover,
    /// The cheapest that can be reached.
    LeastCost,
}

impl Kind {
    /// As it is written in files and explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Static => "static",
            Kind::RandomRoundRobin => "random",
            Kind::Failover => "failover",
            Kind::LeastCost => "least-cost",
        }
    }
}

/// One route of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<T> {
    /// Its place: the highest is looked at first. 0 is the default route, which has no filters.
    pub order: u16,
    /// What a message must be like.
    pub filters: Vec<Filter>,
    /// How it chooses among its targets.
    pub kind: Kind,
    /// Where it leads, in the order of their turns: at most [`TARGETS`].
    pub targets: Vec<T>,
    /// What a message costs at each target, for [`Kind::LeastCost`]; else empty.
    pub costs: Vec<Money>,
    /// The price of one part for the customer, as Jasmin's `rate`; `None`: it is not told.
    pub rate: Option<Money>,
    /// A message that a target reports as undelivered goes to the next one.
    pub next_when_undelivered: bool,
    /// A message of which a target reports nothing for so long goes to the next one. It may be delivered twice.
    pub next_without_receipt: Option<Duration>,
    /// It may carry what costs more than it is sold for, where prices are kept.
    pub loss_ok: bool,
}

/// Targets of one route.
pub const TARGETS: usize = 64;

impl<T> Route<T> {
    /// A route to one target for messages that fit these filters.
    pub fn to(order: u16, target: T, filters: Vec<Filter>) -> Route<T> {
        Route::of(order, Kind::Static, vec![target], filters)
    }

    /// A route of this kind; for [`Kind::LeastCost`] the costs are still to be set.
    pub fn of(order: u16, kind: Kind, targets: Vec<T>, filters: Vec<Filter>) -> Route<T> {
        let (costs, rate) = (Vec::new(), None);
        let (next_when_undelivered, next_without_receipt) = (false, None);
        let loss_ok = false;
        Route {
            order,
            filters,
            kind,
            targets,
            costs,
            rate,
            next_when_undelivered,
            next_without_receipt,
            loss_ok,
        }
    }
}

/// Why a table cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// Two routes have this order.
    Twice(u16),
    /// The route of this order leads nowhere, or to too many targets.
    Targets(u16),
    /// A static route leads to several targets.
    Static(u16),
    /// The default route has filters.
    DefaultFiltered,
    /// The route of this order has no filter, so that those below it would never be reached.
    Unfiltered(u16),
    /// A filter of this route means nothing in this direction.
    Direction(u16, &'static str),
    /// The route of this order has not one cost for each target, in one currency, or has costs and does not choose by them.
    Costs(u16),
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteError::Twice(order) => write!(f, "two routes have the order {order}"),
            RouteError::Targets(order) => {
                write!(f, "route {order} leads to no target, or to more than {TARGETS}")
            }
            RouteError::Static(order) => write!(f, "route {order} is static and leads to several targets"),
            RouteError::DefaultFiltered => f.write_str("route 0 is the default route and has no filters"),
            RouteError::Unfiltered(order) => {
                write!(f, "route {order} has no filter: write `transparent` if every message is meant")
            }
            RouteError::Direction(order, filter) => {
                write!(f, "route {order}: a filter by {filter} means nothing in this direction")
            }
            RouteError::Costs(order) => {
                write!(f, "route {order}: least-cost needs one cost for each target, in one currency")
            }
        }
    }
}

impl std::error::Error for RouteError {}

/// What of a message decides.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The account that sends it; `None` for messages of handsets.
    pub account: Option<usize>,
    /// The group of that account.
    pub group: Option<usize>,
    /// The vendor that it came from; `None` for messages of customers.
    pub connector: Option<usize>,
    /// Who the message is from.
    pub source: &'a [u8],
    /// Who the message is for, with or without plus.
    pub destination: &'a [u8],
    /// The text in UTF-8, when [`Table::needs_text`] and when it is one.
    pub text: Option<&'a str>,
    /// Its labels, for filters by tag.
    pub tags: &'a [String],
    /// When it was taken.
    pub at: Wall,
    /// A number that belongs to this message (and is the same for all its parts): it chooses where the choice is free.
    pub seed: u64,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<T> {
    /// The order of the route.
    pub route: u16,
    /// The target that was chosen.
    pub target: T,
    /// Whether it can be reached now; when not, none of the route's can, and the message waits for this one.
    pub reachable: bool,
}

/// Who a route is for, for finding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Who {
    Anybody,
    User(usize),
    Group(usize),
    Connector(usize),
}

/// Digits in one number: a leading one, then four bits each.
type Digits = u128;
/// Digits of a destination that routes are found by.
const DIGITS: usize = 24;

/// The routes of one direction.
#[derive(Clone, Debug)]
pub struct Table<T> {
    direction: Direction,
    /// The highest order first.
    routes: Vec<Route<T>>,
    /// Places in `routes`, ascending, by who and digits.
    found: HashMap<(Who, Digits), Vec<u32>>,
    /// Which numbers of digits occur with each kind of who.
    lengths: HashMap<Who, Vec<usize>>,
    needs_text: bool,
}

impl<T: Target> Table<T> {
    /// A table of these routes. Errors: routes that cannot be, or contradict one another.
    pub fn new(direction: Direction, mut routes: Vec<Route<T>>) -> Result<Table<T>, RouteError> {
        routes.sort_by_key(|route| std::cmp::Reverse(route.order));
        let mut before = None;
        for route in &mut routes {
            if before == Some(route.order) {
                return Err(RouteError::Twice(route.order));
            }
            before = Some(route.order);
            check(direction, route)?;
            if route.kind == Kind::LeastCost {
                let mut pairs: Vec<(Money, T)> =
                    route.costs.iter().copied().zip(route.targets.iter().copied()).collect();
                // Of two that cost the same the first one given comes first.
                pairs.sort_by_key(|(cost, _)| cost.amount);
                (route.costs, route.targets) = pairs.into_iter().unzip();
            }
        }
        let mut found: HashMap<(Who, Digits), Vec<u32>> = HashMap::new();
        let mut lengths: HashMap<Who, Vec<usize>> = HashMap::new();
        for (place, route) in (0u32..).zip(&routes) {
            let who = who_of(route);
            let digits = digits_of(route);
            let known = lengths.entry(who).or_default();
            if !known.contains(&digits.len()) {
                known.push(digits.len());
            }
            found.entry((who, packed(digits.as_bytes()))).or_default().push(place);
        }
        let needs_text = routes.iter().any(|r| r.filters.iter().any(|f| matches!(f, Filter::Text(_))));
        Ok(Table { direction, routes, found, lengths, needs_text })
    }

    /// A table without a route.
    pub fn empty(direction: Direction) -> Table<T> {
        let (found, lengths) = (HashMap::new(), HashMap::new());
        Table { direction, routes: Vec::new(), found, lengths, needs_text: false }
    }

    /// Which way its messages go.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Its routes, the highest order first.
    pub fn routes(&self) -> &[Route<T>] {
        &self.routes
    }

    /// The route of this order.
    pub fn route(&self, order: u16) -> Option<&Route<T>> {
        let place = self.routes.binary_search_by(|route| order.cmp(&route.order)).ok()?;
        self.routes.get(place)
    }

    /// Whether a route looks at the text: else it need not be decoded.
    pub fn needs_text(&self) -> bool {
        self.needs_text
    }

    /// The target of every message, when the only route is a default one: then nothing of a message needs to be looked at.
    pub fn only(&self) -> Option<T> {
        match &*self.routes {
            [Route { order: 0, kind: Kind::Static, targets, .. }] => targets.first().copied(),
            _ => None,
        }
    }

    /// Where a message goes by the route of this order. `None`: it is gone.
    pub fn decide_by(&self, order: u16, seed: u64, reachable: impl Fn(T) -> bool) -> Option<Decision<T>> {
        choose(self.route(order)?, seed, reachable)
    }

    /// Where a message goes. `reachable` says whether a target can be reached now. `None`: no route fits.
    pub fn decide(&self, input: &Input<'_>, reachable: impl Fn(T) -> bool) -> Option<Decision<T>> {
        let route = self.fitting(input)?;
        choose(route, input.seed, reachable)
    }

    /// The route that a message takes, whatever can be reached.
    pub fn fitting(&self, input: &Input<'_>) -> Option<&Route<T>> {
        let destination = plain(input.destination);
        // The lists that may have the route: at most one for each kind of who and number of digits, each in order.
        let mut lists: [&[u32]; LISTS] = [&[]; LISTS];
        let mut count = 0usize;
        let whos = [
            Some(Who::Anybody),
            input.account.map(Who::User),
            input.group.map(Who::Group),
            input.connector.map(Who::Connector),
        ];
        for who in whos.into_iter().flatten() {
            for length in self.lengths.get(&who).into_iter().flatten() {
                let Some(digits) = destination.get(..*length) else { continue };
                if let Some(list) = self.found.get(&(who, packed(digits)))
                    && let Some(place) = lists.get_mut(count)
                {
                    *place = list;
                    count = count.saturating_add(1);
                }
            }
        }
        let lists = lists.get_mut(..count)?;
        loop {
            let next =
                lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list.first().copied())?;
            let (place, rest) = next.split_first()?;
            *next = rest;
            let route = self.routes.get(usize::try_from(*place).ok()?)?;
            if route.filters.iter().all(|filter| filter.fits(input)) {
                return Some(route);
            }
        }
    }

    /// The next target for a message that `current` did not take, after `moves` moves; only one that can be reached. `None`: all had
    /// their turn, or the route is gone.
    pub fn next(&self, order: u16, current: T, moves: u8, reachable: impl Fn(T) -> bool) -> Option<T> {
        let targets = &self.route(order)?.targets;
        let count = targets.len();
        if usize::from(moves).saturating_add(1) >= count {
            return None;
        }
        let from = targets.iter().position(|t| *t == current).map_or(0, |at| at.saturating_add(1));
        let in_turn =
            (0..count).filter_map(|step| targets.get(from.wrapping_add(step).checked_rem(count)?)).copied();
        in_turn.filter(|target| *target != current).find(|target| reachable(*target))
    }
}

/// Lists that one message may look into: each kind of who with each number of digits.
const LISTS: usize = 4 * (DIGITS + 1);

pub(super) fn choose<T: Target>(
    route: &Route<T>,
    seed: u64,
    reachable: impl Fn(T) -> bool,
) -> Option<Decision<T>> {
    let targets = &route.targets;
    let first = match route.kind {
        Kind::RandomRoundRobin => usize::try_from(seed.checked_rem(targets.len() as u64)?).ok()?,
        Kind::Static | Kind::Failover | Kind::LeastCost => 0,
    };
    let (before, after) = targets.split_at_checked(first)?;
    let target = after.iter().chain(before).copied().find(|target| reachable(*target));
    Some(Decision {
        route: route.order,
        target: target.or_else(|| targets.get(first).copied())?,
        reachable: target.is_some(),
    })
}

impl Filter {
    /// Whether a message fits.
    pub fn fits(&self, input: &Input<'_>) -> bool {
        match self {
            Filter::Transparent => true,
            Filter::User(place) => input.account == Some(*place),
            Filter::Group(place) => input.group == Some(*place),
            Filter::Connector(place) => input.connector == Some(*place),
            Filter::Source(pattern) => pattern.fits(input.source),
            Filter::Destination(pattern) => pattern.fits(plain(input.destination)),
            Filter::Text(pattern) => input.text.is_some_and(|text| pattern.fits(text.as_bytes())),
            Filter::Dates(from, to) => (*from..=*to).contains(&input.at.0.div_euclid(DAY)),
            Filter::Times(from, to) => {
                let second = u32::try_from(input.at.0.rem_euclid(DAY) / SECOND).unwrap_or(0);
                if from <= to { (*from..=*to).contains(&second) } else { second >= *from || second <= *to }
            }
            Filter::Tag(tag) => input.tags.iter().any(|t| t == tag),
        }
    }

    /// What it looks at, for people.
    pub const fn name(&self) -> &'static str {
        match self {
            Filter::Transparent => "transparent",
            Filter::User(_) => "user",
            Filter::Group(_) => "group",
            Filter::Connector(_) => "connector",
            Filter::Source(_) => "source",
            Filter::Destination(_) => "destination",
            Filter::Text(_) => "text",
            Filter::Dates(..) => "dates",
            Filter::Times(..) => "times",
            Filter::Tag(_) => "tag",
        }
    }
}

/// Microseconds of a second and of a day.
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

fn check<T>(direction: Direction, route: &Route<T>) -> Result<(), RouteError> {
    let order = route.order;
    if route.targets.is_empty() || route.targets.len() > TARGETS {
        return Err(RouteError::Targets(order));
    }
    if route.kind == Kind::Static && route.targets.len() != 1 {
        return Err(RouteError::Static(order));
    }
    if order == 0 && !route.filters.is_empty() {
        return Err(RouteError::DefaultFiltered);
    }
    if order != 0 && route.filters.is_empty() {
        return Err(RouteError::Unfiltered(order));
    }
    let strange = route.filters.iter().find(|filter| match direction {
        Direction::Terminated => matches!(filter, Filter::Connector(_)),
        Direction::Originated => matches!(filter, Filter::User(_) | Filter::Group(_) | Filter::Tag(_)),
    });
    if let Some(filter) = strange {
        return Err(RouteError::Direction(order, filter.name()));
    }
    let by_cost = route.kind == Kind::LeastCost;
    let currency = route.costs.first().map(|cost| cost.currency);
    let same = route.costs.iter().all(|cost| Some(cost.currency) == currency && cost.amount.0 >= 0);
    if route.costs.len() != if by_cost { route.targets.len() } else { 0 } || !same {
        return Err(RouteError::Costs(order));
    }
    Ok(())
}

fn who_of<T>(route: &Route<T>) -> Who {
    let of = |filter: &Filter| match filter {
        Filter::User(place) => Some(Who::User(*place)),
        Filter::Group(place) => Some(Who::Group(*place)),
        Filter::Connector(place) => Some(Who::Connector(*place)),
        _ => None,
    };
    route.filters.iter().find_map(of).unwrap_or(Who::Anybody)
}

fn digits_of<T>(route: &Route<T>) -> &str {
    let digits = route.filters.iter().filter_map(|filter| match filter {
        Filter::Destination(pattern) => Some(pattern.digits()),
        _ => None,
    });
    let longest = digits.max_by_key(|digits| digits.len()).unwrap_or_default();
    longest.get(..longest.len().min(DIGITS)).unwrap_or_default()
}

/// Digits as one number. What has another character than a digit is the number of nothing.
fn packed(digits: &[u8]) -> Digits {
    digits.iter().fold(1, |number, digit| match digit.checked_sub(b'0') {
        Some(value @ 0..=9) if number != 0 => (number << 4) | Digits::from(value),
        _ => 0,
    })
}

fn plain(destination: &[u8]) -> &[u8] {
    destination.strip_prefix(b"+").unwrap_or(destination)
}
