//! The one in-memory form of a decoded document, bencode or JSON: a flat list of nodes instead of a tree.
//!
//! A container's node says where its contents end, so nothing here recurses and one allocation holds a document. The
//! limits on depth and elements are enforced while the tape is written; see [`Builder`].

use std::borrow::Cow;

use warp_model::limits::{NG_DEPTH, NG_ELEMENTS, NG_STRING_BYTES};

/// One element. Dictionary keys are `Text` nodes in front of their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node<'a> {
    /// An integer of at most 64 bits.
    Int(i64),
    /// A byte string; owned only when JSON escapes had to be resolved.
    Text(Cow<'a, [u8]>),
    /// A list: its items are the nodes up to `end`.
    List {
        /// Index after the last node inside.
        end: u32,
    },
    /// A dictionary: key, value, key, value … up to `end`.
    Dict {
        /// Index after the last node inside.
        end: u32,
    },
}

/// Why a document is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentError {
    /// The bytes are not of the syntax.
    Syntax,
    /// Depth, elements or string length beyond the limits of `model::limits`.
    TooLarge,
}

/// A decoded document: its nodes in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tape<'a> {
    nodes: Vec<Node<'a>>,
}

impl<'a> Tape<'a> {
    /// The view of the whole document; `None` when it has no node.
    pub fn root(&self) -> Option<View<'_, 'a>> {
        self.view(0)
    }

    /// How many nodes it has.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes on the heap, borrowed strings not counted.
    pub fn allocated_bytes(&self) -> usize {
        let owned = |n: &Node<'_>| match n {
            Node::Text(Cow::Owned(t)) => t.capacity(),
            _ => 0,
        };
        self.nodes
            .capacity()
            .saturating_mul(size_of::<Node<'_>>())
            .saturating_add(self.nodes.iter().map(owned).sum())
    }

    /// True for a tape without a document.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn view(&self, at: usize) -> Option<View<'_, 'a>> {
        let node = self.nodes.get(at)?;
        Some(View { tape: self, at, node })
    }
}

/// One element of a tape.
#[derive(Clone, Copy, Debug)]
pub struct View<'t, 'a> {
    tape: &'t Tape<'a>,
    at: usize,
    node: &'t Node<'a>,
}

impl<'t, 'a> View<'t, 'a> {
    /// The node that the view stands on.
    pub fn node(self) -> &'t Node<'a> {
        self.node
    }

    /// A string, or an integer as its decimal text (clients mix the two).
    pub fn text(self) -> Option<Cow<'t, [u8]>> {
        match self.node {
            Node::Text(t) => Some(Cow::Borrowed(t)),
            Node::Int(i) => Some(Cow::Owned(i.to_string().into_bytes())),
            _ => None,
        }
    }

    /// A string as it is; `None` for integers and containers.
    pub fn str(self) -> Option<&'t [u8]> {
        match self.node {
            Node::Text(t) => Some(t),
            _ => None,
        }
    }

    /// An integer, or a string that is one.
    pub fn int(self) -> Option<i64> {
        match self.node {
            Node::Int(i) => Some(*i),
            Node::Text(t) => std::str::from_utf8(t).ok()?.trim().parse().ok(),
            _ => None,
        }
    }

    /// Items of a list; a string counts as a list of itself (clients send both); nothing otherwise.
    pub fn items(self) -> Items<'t, 'a> {
        let (at, end) = match self.node {
            Node::List { end } => (self.at.saturating_add(1), *end as usize),
            Node::Text(_) | Node::Int(_) => (self.at, self.at.saturating_add(1)),
            Node::Dict { .. } => (0, 0),
        };
        Items { tape: self.tape, at, end }
    }

    /// Keys and values of a dictionary in document order; nothing for other elements.
    pub fn entries(self) -> impl Iterator<Item = (&'t [u8], View<'t, 'a>)> + use<'t, 'a> {
        let (at, end) = match self.node {
            Node::Dict { end } => (self.at.saturating_add(1), *end as usize),
            _ => (0, 0),
        };
        let mut items = Items { tape: self.tape, at, end };
        std::iter::from_fn(move || Some((items.next()?.str()?, items.next()?)))
    }

    /// First value under exactly this key.
    pub fn get(self, key: &str) -> Option<View<'t, 'a>> {
        self.entries().find(|(k, _)| *k == key.as_bytes()).map(|(_, v)| v)
    }

    /// True for a dictionary.
    pub fn is_dict(self) -> bool {
        matches!(self.node, Node::Dict { .. })
    }
}

/// Items of a list.
#[derive(Clone, Debug)]
pub struct Items<'t, 'a> {
    tape: &'t Tape<'a>,
    at: usize,
    end: usize,
}

impl<'t, 'a> Iterator for Items<'t, 'a> {
    type Item = View<'t, 'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let view = self.tape.view(self.at)?;
        self.at = match view.node {
            Node::List { end } | Node::Dict { end } => *end as usize,
            Node::Int(_) | Node::Text(_) => self.at.saturating_add(1),
        };
        Some(view)
    }
}

/// Writes a tape, keeping depth, element count and key/value order in check. Both decoders drive it.
#[derive(Debug)]
pub struct Builder<'a> {
    nodes: Vec<Node<'a>>,
    open: [Open; NG_DEPTH],
    depth: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Open {
    at: u32,
    dict: bool,
    /// In a dictionary: the next element must be a key.
    wants_key: bool,
}

impl<'a> Builder<'a> {
    /// For a document of `bytes` bytes; reserves far less than that.
    pub fn new(bytes: usize) -> Self {
        Self {
            nodes: Vec::with_capacity((bytes / 16).clamp(8, 64)),
            open: [Open::default(); NG_DEPTH],
            depth: 0,
        }
    }

    /// True when a value (or key) at the top level has been completed.
    pub fn is_complete(&self) -> bool {
        self.depth == 0 && !self.nodes.is_empty()
    }

    /// True when the next element is a dictionary key.
    pub fn wants_key(&self) -> bool {
        self.top().is_some_and(|t| t.dict && t.wants_key)
    }

    /// `Some(true)` inside a dictionary, `Some(false)` inside a list, `None` at the top.
    pub fn in_dict(&self) -> Option<bool> {
        self.top().map(|t| t.dict)
    }

    /// Appends an integer. Errors: the document is full.
    pub fn int(&mut self, i: i64) -> Result<(), DocumentError> {
        self.push(Node::Int(i), false)
    }

    /// A string, value or key.
    pub fn text(&mut self, t: Cow<'a, [u8]>) -> Result<(), DocumentError> {
        if t.len() > NG_STRING_BYTES {
            return Err(DocumentError::TooLarge);
        }
        self.push(Node::Text(t), true)
    }

    /// Opens a dictionary (`dict`) or a list; what follows lies in it until it is closed.
    pub fn open(&mut self, dict: bool) -> Result<(), DocumentError> {
        let at = self.nodes.len() as u32;
        self.push(if dict { Node::Dict { end: 0 } } else { Node::List { end: 0 } }, false)?;
        let slot = self.open.get_mut(self.depth).ok_or(DocumentError::TooLarge)?;
        *slot = Open { at, dict, wants_key: dict };
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    /// Closes the innermost container.
    pub fn close(&mut self) -> Result<(), DocumentError> {
        let top = self.top().ok_or(DocumentError::Syntax)?;
        if top.dict && !top.wants_key {
            return Err(DocumentError::Syntax); // a key without its value
        }
        let now = self.nodes.len() as u32;
        match self.nodes.get_mut(top.at as usize) {
            Some(Node::List { end } | Node::Dict { end }) => *end = now,
            _ => return Err(DocumentError::Syntax),
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    /// The finished document. Errors: a container is open, or nothing came.
    pub fn finish(self) -> Result<Tape<'a>, DocumentError> {
        if !self.is_complete() {
            return Err(DocumentError::Syntax);
        }
        Ok(Tape { nodes: self.nodes })
    }

    fn top(&self) -> Option<Open> {
        self.open.get(self.depth.checked_sub(1)?).copied()
    }

    fn push(&mut self, node: Node<'a>, may_be_key: bool) -> Result<(), DocumentError> {
        if self.is_complete() {
            return Err(DocumentError::Syntax);
        }
        if self.nodes.len() >= NG_ELEMENTS {
            return Err(DocumentError::TooLarge);
        }
        if let Some(top) = self.depth.checked_sub(1).and_then(|d| self.open.get_mut(d))
            && top.dict
        {
            if top.wants_key && !may_be_key {
                return Err(DocumentError::Syntax);
            }
            top.wants_key = !top.wants_key;
        }
        self.nodes.push(node);
        Ok(())
    }
}
