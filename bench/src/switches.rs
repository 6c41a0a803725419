//! Many small changes in one build: each stands behind a switch that is read from the environment when the test runs.
//!
//! cargo-mutants names the changes; here the source is rewritten so that all of them are compiled at once and one is on at a
//! time (`WARP_MUTANT=number`, none without it). What cannot stand behind a switch (constants, patterns, `let` chains, what
//! does not parse) is handed back and has to be built alone.

use std::collections::BTreeMap;
use std::mem::take;
use std::ops::Range;

use proc_macro2::LineColumn;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, Member, UnOp};

/// One change as cargo-mutants lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of its switch, from 1.
    pub number: u32,
    /// What kind of place: `FnValue`, `BinaryOperator`, `UnaryOperator`, `MatchArm`, `MatchArmGuard`, `StructField`.
    pub genre: String,
    /// Line and column where it begins, both from 1.
    pub start: (usize, usize),
    /// What stands there instead.
    pub replacement: String,
}

/// A file with its switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switched {
    /// The source, rewritten with its switches.
    pub text: String,
    /// Numbers of the changes that have no switch.
    pub left: Vec<u32>,
}

/// To be appended to the crate's root file: answers whether a switch is on, without allocating (tests count allocations).
pub const MODULE: &str = r#"
#[allow(missing_docs)]
pub mod warp_switch {
    use std::io::Read as _;
    use std::sync::atomic::{AtomicU32, Ordering};
    static NOW: AtomicU32 = AtomicU32::new(u32::MAX);
    #[inline]
    pub fn on(number: u32) -> bool {
        match NOW.load(Ordering::Relaxed) {
            u32::MAX => read() == number,
            now => now == number,
        }
    }
    #[cold]
    fn read() -> u32 {
        const KEY: &[u8] = b"WARP_MUTANT=";
        let mut text = [0u8; 65_536];
        let mut len = 0;
        if let Ok(mut file) = std::fs::File::open("/proc/self/environ") {
            while let Ok(n @ 1..) = file.read(&mut text[len..]) {
                len += n;
            }
        }
        let mut now = 0;
        for word in text[..len].split(|b| *b == 0) {
            if let Some(digits) = word.strip_prefix(KEY) {
                now = digits.iter().fold(0, |n: u32, d| n * 10 + u32::from(d - b'0'));
            }
        }
        NOW.store(now, Ordering::Relaxed);
        now
    }
}
"#;

/// Puts each change of a file behind its switch.
///
/// # Errors
/// The source is no Rust.
pub fn switched(source: &str, changes: &[Change]) -> Result<Switched, String> {
    let file = syn::parse_file(source).map_err(|e| e.to_string())?;
    let places = Places::new(source);
    let mut wanted: BTreeMap<usize, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        wanted.entry(places.of(change.start.0, change.start.1.saturating_sub(1))).or_default().push(change);
    }
    let mut finder =
        Finder { source, places, wanted, sites: Vec::new(), done: Vec::new(), around: Vec::new(), fixed: 0 };
    finder.visit_file(&file);
    let Finder { mut sites, done, .. } = finder;
    sites.sort_by_key(|s| (s.range.start, !s.insertion, std::cmp::Reverse(s.range.end)));
    let left = changes.iter().map(|c| c.number).filter(|n| !done.contains(n)).collect();
    Ok(Switched { text: render(source, 0..source.len(), &sites), left })
}

/// The number of the last switch before a place of a rewritten source: whose change does not compile there.
pub fn switch_before(text: &str, at: usize) -> Option<u32> {
    // The end of the message's place may stand inside of the call of the switch itself.
    let head = text.get(..at)?;
    let digits = &head[head.rfind(MARK)? + MARK.len()..];
    digits.split(')').next()?.parse().ok()
}

const MARK: &str = "crate::warp_switch::on(";

/// Where something is switched: an expression, with what stands there instead; or an insertion.
struct Site {
    range: Range<usize>,
    insertion: bool,
    /// The number of each change, and the text that takes the place.
    instead: Vec<(u32, String)>,
}

fn render(source: &str, within: Range<usize>, sites: &[Site]) -> String {
    let mut out = String::new();
    let mut at = within.start;
    let mut next = 0;
    while let Some(site) = sites.get(next) {
        out.push_str(&source[at..site.range.start]);
        at = site.range.start;
        next += 1;
        if site.insertion {
            for (_, text) in &site.instead {
                out.push_str(text);
            }
            continue;
        }
        let inside = sites[next..].iter().take_while(|s| s.range.start < site.range.end).count();
        out.push('(');
        for (number, text) in &site.instead {
            out.push_str(&format!("if {MARK}{number}) {{ {text} }} else "));
        }
        let rest = render(source, site.range.clone(), &sites[next..next + inside]);
        out.push_str(&format!("{{ {rest} }})"));
        next += inside;
        at = site.range.end;
    }
    out.push_str(&source[at..within.end]);
    out
}

/// Byte offsets of lines.
struct Places<'a> {
    source: &'a str,
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(source: &'a str) -> Self {
        let mut lines = vec![0, 0];
        lines.extend(source.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1));
        Places { source, lines }
    }

    /// `line` from 1, `column` from 0 in characters.
    fn of(&self, line: usize, column: usize) -> usize {
        let start = self.lines.get(line).copied().unwrap_or(self.source.len());
        let rest = &self.source[start..];
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }
}

struct Finder<'a> {
    source: &'a str,
    places: Places<'a>,
    /// By where they begin.
    wanted: BTreeMap<usize, Vec<&'a Change>>,
    sites: Vec<Site>,
    done: Vec<u32>,
    /// Binary expressions right around this one: another operator may bind otherwise.
    around: Vec<Around>,
    /// Inside of a constant, a type or a pattern: nothing is decided at run time.
    fixed: usize,
}

#[derive(Clone)]
struct Around {
    precedence: u8,
    range: Range<usize>,
    has_let: bool,
}

impl Finder<'_> {
    fn at(&self, place: LineColumn) -> usize {
        self.places.of(place.line, place.column)
    }

    fn range(&self, what: &impl Spanned) -> Range<usize> {
        let span = what.span();
        self.at(span.start())..self.at(span.end())
    }

    fn wanted(&self, at: usize, genre: &str) -> Vec<Change> {
        if self.fixed > 0 {
            return Vec::new();
        }
        let here = self.wanted.get(&at).into_iter().flatten();
        here.filter(|c| c.genre == genre).map(|c| (*c).clone()).collect()
    }

    fn either(&mut self, range: Range<usize>, number: u32, text: String) {
        if syn::parse_str::<Expr>(&text).is_err() {
            return;
        }
        self.done.push(number);
        match self.sites.iter_mut().find(|s| !s.insertion && s.range == range) {
            Some(site) => site.instead.push((number, text)),
            None => self.sites.push(Site { range, insertion: false, instead: vec![(number, text)] }),
        }
    }

    fn insert(&mut self, at: usize, number: u32, text: String) {
        self.done.push(number);
        match self.sites.iter_mut().find(|s| s.insertion && s.range.start == at) {
            Some(site) => site.instead.push((number, text)),
            None => self.sites.push(Site { range: at..at, insertion: true, instead: vec![(number, text)] }),
        }
    }

    /// The text of `range` with `part` replaced.
    fn with(&self, range: &Range<usize>, part: &Range<usize>, replacement: &str) -> String {
        format!("{}{replacement}{}", &self.source[range.start..part.start], &self.source[part.end..range.end])
    }

    fn body(&mut self, block: &syn::Block) {
        let Some(first) = block.stmts.first() else { return };
        let at = self.range(first).start;
        for change in self.wanted(at, "FnValue") {
            if syn::parse_str::<Expr>(&change.replacement).is_ok() {
                let text = format!("if {MARK}{}) {{ return {}; }} ", change.number, change.replacement);
                self.insert(at, change.number, text);
            }
        }
    }

    fn fixed(&mut self, go: impl FnOnce(&mut Self)) {
        self.fixed += 1;
        go(self);
        self.fixed -= 1;
    }

    fn function(&mut self, is_const: bool, block: Option<&syn::Block>, go: impl FnOnce(&mut Self)) {
        let around = take(&mut self.around);
        self.fixed += usize::from(is_const);
        if let Some(block) = block {
            self.body(block);
        }
        go(self);
        self.fixed -= usize::from(is_const);
        self.around = around;
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, i: &'ast syn::ItemFn) {
        self.function(i.sig.constness.is_some(), Some(&i.block), |f| visit::visit_item_fn(f, i));
    }

    fn visit_impl_item_fn(&mut self, i: &'ast syn::ImplItemFn) {
        self.function(i.sig.constness.is_some(), Some(&i.block), |f| visit::visit_impl_item_fn(f, i));
    }

    fn visit_trait_item_fn(&mut self, i: &'ast syn::TraitItemFn) {
        self.function(i.sig.constness.is_some(), i.default.as_ref(), |f| visit::visit_trait_item_fn(f, i));
    }

    fn visit_item_const(&mut self, i: &'ast syn::ItemConst) {
        self.fixed(|f| visit::visit_item_const(f, i));
    }

    fn visit_impl_item_const(&mut self, i: &'ast syn::ImplItemConst) {
        self.fixed(|f| visit::visit_impl_item_const(f, i));
    }

    fn visit_trait_item_const(&mut self, i: &'ast syn::TraitItemConst) {
        self.fixed(|f| visit::visit_trait_item_const(f, i));
    }

    fn visit_item_static(&mut self, i: &'ast syn::ItemStatic) {
        self.fixed(|f| visit::visit_item_static(f, i));
    }

    fn visit_variant(&mut self, i: &'ast syn::Variant) {
        self.fixed(|f| visit::visit_variant(f, i));
    }

    fn visit_type(&mut self, i: &'ast syn::Type) {
        self.fixed(|f| visit::visit_type(f, i));
    }

    fn visit_generic_argument(&mut self, i: &'ast syn::GenericArgument) {
        self.fixed(|f| visit::visit_generic_argument(f, i));
    }

    fn visit_pat(&mut self, i: &'ast syn::Pat) {
        self.fixed(|f| visit::visit_pat(f, i));
    }

    fn visit_expr_const(&mut self, i: &'ast syn::ExprConst) {
        self.fixed(|f| visit::visit_expr_const(f, i));
    }

    fn visit_expr_repeat(&mut self, i: &'ast syn::ExprRepeat) {
        self.visit_expr(&i.expr);
        self.fixed(|f| f.visit_expr(&i.len));
    }

    fn visit_expr(&mut self, i: &'ast Expr) {
        if matches!(i, Expr::Binary(_)) {
            return visit::visit_expr(self, i);
        }
        let around = take(&mut self.around);
        visit::visit_expr(self, i);
        self.around = around;
    }

    fn visit_expr_binary(&mut self, i: &'ast syn::ExprBinary) {
        let here = Around { precedence: precedence(&i.op), range: self.range(i), has_let: has_let_of(i) };
        self.around.push(here);
        let op = self.range(&i.op);
        for change in self.wanted(op.start, "BinaryOperator") {
            let Ok(other) = syn::parse_str::<BinOp>(&change.replacement) else { continue };
            // Everything around that binds as strongly as the weaker of both: there the changed text reads otherwise.
            let weaker = precedence(&other).min(precedence(&i.op));
            let mut outermost = self.around.len() - 1;
            while outermost > 0 && self.around[outermost - 1].precedence >= weaker {
                outermost -= 1;
            }
            let whole = self.around[outermost].clone();
            if !whole.has_let {
                let text = self.with(&whole.range, &op, &change.replacement);
                self.either(whole.range, change.number, text);
            }
        }
        visit::visit_expr_binary(self, i);
        self.around.pop();
    }

    fn visit_expr_unary(&mut self, i: &'ast syn::ExprUnary) {
        if matches!(i.op, UnOp::Not(_) | UnOp::Neg(_)) {
            let (whole, op) = (self.range(i), self.range(&i.op));
            for change in self.wanted(op.start, "UnaryOperator") {
                let text = self.with(&whole, &op, &change.replacement);
                self.either(whole.clone(), change.number, text);
            }
        }
        visit::visit_expr_unary(self, i);
    }

    fn visit_arm(&mut self, i: &'ast syn::Arm) {
        let start = self.range(i).start;
        if i.guard.is_none() {
            for change in self.wanted(start, "MatchArm") {
                let at = self.range(&i.pat).end;
                self.insert(at, change.number, format!(" if !{MARK}{})", change.number));
            }
        }
        if let Some((_, guard)) = &i.guard
            && !has_let(guard)
        {
            let range = self.range(guard);
            for change in self.wanted(range.start, "MatchArmGuard") {
                self.either(range.clone(), change.number, change.replacement);
            }
        }
        visit::visit_arm(self, i);
    }

    fn visit_expr_struct(&mut self, i: &'ast syn::ExprStruct) {
        if i.rest.is_some() {
            let whole = self.range(i);
            for pair in i.fields.pairs() {
                if !matches!(pair.value().member, Member::Named(_)) {
                    continue;
                }
                let mut field = self.range(*pair.value());
                for change in self.wanted(field.start, "StructField") {
                    if let Some(comma) = pair.punct() {
                        field.end = self.range(*comma).end;
                    }
                    let text = self.with(&whole, &field, "");
                    self.either(whole.clone(), change.number, text);
                }
            }
        }
        visit::visit_expr_struct(self, i);
    }
}

fn has_let(e: &Expr) -> bool {
    match e {
        Expr::Let(_) => true,
        Expr::Binary(b) => has_let_of(b),
        _ => false,
    }
}

fn has_let_of(b: &syn::ExprBinary) -> bool {
    has_let(&b.left) || has_let(&b.right)
}

/// How strongly an operator binds, as the language's reference orders them.
fn precedence(op: &BinOp) -> u8 {
    match op {
        BinOp::Mul(_) | BinOp::Div(_) | BinOp::Rem(_) => 9,
        BinOp::Add(_) | BinOp::Sub(_) => 8,
        BinOp::Shl(_) | BinOp::Shr(_) => 7,
        BinOp::BitAnd(_) => 6,
        BinOp::BitXor(_) => 5,
        BinOp::BitOr(_) => 4,
        BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Gt(_) | BinOp::Le(_) | BinOp::Ge(_) => 3,
        BinOp::And(_) => 2,
        BinOp::Or(_) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `what` is the text at which the change begins, in the one line of source.
    fn one(source: &str, genre: &str, what: &str, replacement: &str) -> Switched {
        let at = source.find(what).unwrap();
        let change =
            Change { number: 7, genre: genre.into(), start: (1, at + 1), replacement: replacement.into() };
        let switched = switched(source, &[change]).unwrap();
        syn::parse_file(&switched.text).unwrap();
        switched
    }

    #[track_caller]
    fn gives(source: &str, genre: &str, what: &str, replacement: &str, part: &str) {
        let got = one(source, genre, what, replacement);
        let part = part.replace("ON", "crate::warp_switch::on(7)");
        assert!(got.text.contains(&part) && got.left.is_empty(), "{got:?}");
    }

    #[track_caller]
    fn leaves(source: &str, genre: &str, what: &str, replacement: &str) {
        let got = one(source, genre, what, replacement);
        assert_eq!((got.left.as_slice(), got.text.as_str()), (&[7][..], source));
    }

    #[test]
    fn a_change_reads_as_its_text_would() {
        let op = "BinaryOperator";
        gives("fn f() { a + b < c }", op, "< c", ">", "(if ON { a + b > c } else { a + b < c })");
        gives("fn f() { a + b < c }", op, "+", "-", "(if ON { a - b } else { a + b }) < c");
        // `a || b && c` is not `(a || b) && c`.
        gives("fn f() { a && b && c }", op, "&& b", "||", "(if ON { a || b && c } else { a && b && c })");
        gives("fn f() { a - b * c }", op, "* c", "+", "(if ON { a - b + c } else { a - b * c })");
        gives("fn f() { x += a; }", op, "+=", "-=", "(if ON { x -= a } else { x += a });");
        gives("fn f() { !a.b() }", "UnaryOperator", "!", "", "(if ON { a.b() } else { !a.b() })");
        gives("fn f() { g(1) }", "FnValue", "g(", "0", "{ if ON { return 0; } g(1) }");
        gives("fn f() { match a { 1 => b, _ => c } }", "MatchArm", "1 =>", "", "1 if !ON => b");
        gives(
            "fn f() { match a { 1 if b => c, _ => d } }",
            "MatchArmGuard",
            "b =>",
            "true",
            "if (if ON { true } else { b })",
        );
        gives("fn f() { S { a: 1, b: 2, ..d } }", "StructField", "a: 1", "", "if ON { S {  b: 2, ..d } }");
    }

    #[test]
    fn what_is_decided_when_it_is_compiled_is_left() {
        let op = "BinaryOperator";
        leaves("const A: u8 = 1 + 2;", op, "+", "-");
        leaves("const fn f() -> u8 { 1 + 2 }", op, "+", "-");
        leaves("fn f() { let x: [u8; 1 + 2]; }", op, "+", "-");
        leaves("fn f() { if a && let Some(b) = c {} }", op, "&&", "||");
        leaves(
            "fn f() { match a { 1 if b && let Some(c) = d => 2, _ => 3 } }",
            "MatchArmGuard",
            "b &&",
            "true",
        );
    }

    #[test]
    fn several_changes_stand_beside_and_inside_each_other() {
        let source = "fn f() -> u8 { a + b + c }";
        let change = |number, what: &str, genre: &str, replacement: &str| Change {
            number,
            genre: genre.into(),
            start: (1, source.find(what).unwrap() + 1),
            replacement: replacement.into(),
        };
        let list = [
            change(1, "+ b", "BinaryOperator", "-"),
            change(2, "+ b", "BinaryOperator", "*"),
            change(3, "+ c", "BinaryOperator", "-"),
            change(4, "a +", "FnValue", "1"),
        ];
        let got = switched(source, &list).unwrap();
        let text = got.text.replace("crate::warp_switch::", "");
        assert_eq!(
            text,
            "fn f() -> u8 { if on(4) { return 1; } (if on(3) { a + b - c } else if on(1) { a - b + c } \
             else if on(2) { a * b + c } else { a + b + c }) }"
        );
        assert_eq!(switch_before(&got.text, got.text.find("a - b").unwrap()), Some(1));
        assert_eq!(switch_before(&got.text, got.text.find("return").unwrap()), Some(4));
        assert_eq!(switch_before(&got.text, 3), None);
    }
}
