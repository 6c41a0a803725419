//! Why a message goes where it goes, in words: the same filters in the same order as the decision.

use std::fmt::Write;

use serde_json::{Value, json};

use super::calendar::{day, time};
use super::route::{Decision, Filter, Input, Kind, Route, Table, Target, choose};

/// What became of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The order of the route.
    pub order: u16,
    /// How it chooses among its targets.
    pub kind: Kind,
    /// Its targets by name, in the order of their turns, and whether each can be reached.
    pub targets: Vec<(String, bool)>,
    /// The filter that does not fit, in words; `None`: all fit, and this is the route.
    pub misses: Option<String>,
}

/// Why a message goes where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<T> {
    /// The routes that were looked at, in order; the last one is taken, unless none was.
    pub steps: Vec<Step>,
    /// What was decided; `None`: there is no route.
    pub decision: Option<Decision<T>>,
    /// The name of the target.
    pub target: Option<String>,
}

/// Decides as [`Table::decide`] does, and says why. `name` names targets, `place` the account, group or connector of a filter.
pub fn explain<T: Target>(
    table: &Table<T>,
    input: &Input<'_>,
    reachable: impl Fn(T) -> bool,
    name: impl Fn(T) -> String,
    place: impl Fn(&Filter) -> String,
) -> Explanation<T> {
    let mut steps = Vec::new();
    for route in table.routes() {
        let miss = route.filters.iter().find(|filter| !filter.fits(input));
        let targets = route.targets.iter().map(|target| (name(*target), reachable(*target))).collect();
        let misses = miss.map(|filter| words(filter, input, &place));
        let taken = misses.is_none();
        steps.push(Step { order: route.order, kind: route.kind, targets, misses });
        if taken {
            return taken_route(route, input, steps, reachable, name);
        }
    }
    Explanation { steps, decision: None, target: None }
}

fn taken_route<T: Target>(
    route: &Route<T>,
    input: &Input<'_>,
    steps: Vec<Step>,
    reachable: impl Fn(T) -> bool,
    name: impl Fn(T) -> String,
) -> Explanation<T> {
    let decision = choose(route, input.seed, reachable);
    Explanation { steps, decision, target: decision.map(|d| name(d.target)) }
}

fn words(filter: &Filter, input: &Input<'_>, place: impl Fn(&Filter) -> String) -> String {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match filter {
        Filter::Transparent => String::new(),
        Filter::User(_) | Filter::Group(_) | Filter::Connector(_) => {
            format!("is for the {} {}", filter.name(), place(filter))
        }
        Filter::Source(pattern) => format!("the source {:?} does not fit {pattern}", shown(input.source)),
        Filter::Destination(pattern) => {
            format!("the destination {:?} does not fit {pattern}", shown(input.destination))
        }
        Filter::Text(pattern) if input.text.is_none() => format!("there is no text to fit {pattern}"),
        Filter::Text(pattern) => format!("the text does not fit {pattern}"),
        Filter::Dates(from, to) => format!("is for the days {} to {} (UTC)", day(*from), day(*to)),
        Filter::Times(from, to) => format!("is for {} to {} (UTC)", time(*from), time(*to)),
        Filter::Tag(tag) => format!("has not the tag {tag}"),
    }
}

impl<T> Explanation<T> {
    /// One line for each route that was looked at, then what was decided.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for step in &self.steps {
            let targets: Vec<String> = step
                .targets
                .iter()
                .map(|(name, up)| if *up { name.clone() } else { format!("{name} (not bound)") })
                .collect();
            let what = step.misses.as_deref().map_or("taken".to_owned(), |why| format!("passed over: {why}"));
            // Writing to a string cannot fail.
            let _ =
                writeln!(out, "route {} {} → {}: {what}", step.order, step.kind.as_str(), targets.join(", "));
        }
        let _ = match (&self.target, &self.decision) {
            (Some(name), Some(decision)) if decision.reachable => writeln!(out, "goes to {name}"),
            (Some(name), _) => writeln!(out, "waits for {name}: none of the route's targets is bound"),
            (None, _) => writeln!(out, "no route fits: refused"),
        };
        out
    }

    /// The same as JSON.
    pub fn json(&self) -> Value {
        let steps = self.steps.iter().map(|step| {
            let targets = step.targets.iter().map(|(name, up)| json!({"name": name, "reachable": up}));
            json!({
                "route": step.order,
                "kind": step.kind.as_str(),
                "targets": targets.collect::<Vec<_>>(),
                "passed_over": step.misses,
            })
        });
        json!({
            "routes": steps.collect::<Vec<_>>(),
            "route": self.decision.as_ref().map(|d| d.route),
            "target": self.target,
            "waits": self.decision.as_ref().map(|d| !d.reachable),
        })
    }
}
