//! Labels from closed enums, and sets of up to three of them.

/// One label: an enum whose values are all known at compile time. Made by [`label_enum!`](crate::label_enum).
pub trait Label: Copy + Send + Sync + 'static {
    /// Name of the label.
    const NAME: &'static str;
    /// Text of each value, in the order of [`Label::index`].
    const VALUES: &'static [&'static str];
    /// Position of the value in [`Label::VALUES`], from 0.
    fn index(self) -> usize;
    /// Text of this value.
    fn as_str(self) -> &'static str {
        Self::VALUES.get(self.index()).copied().unwrap_or("other")
    }
}

/// Up to three labels: `()`, `(A,)`, `(A, B)`, `(A, B, C)`; a bare label works as well.
pub trait LabelSet: Copy + Send + Sync + 'static {
    /// Names of the labels, in order.
    fn names() -> Vec<&'static str>;
    /// How many combinations of values there are.
    fn count() -> usize;
    /// Dense index of this combination, below [`LabelSet::count`].
    fn index(self) -> usize;
    /// Values of the combination with this index.
    fn values(index: usize) -> Vec<&'static str>;
}

impl LabelSet for () {
    fn names() -> Vec<&'static str> {
        Vec::new()
    }
    fn count() -> usize {
        1
    }
    fn index(self) -> usize {
        0
    }
    fn values(_: usize) -> Vec<&'static str> {
        Vec::new()
    }
}

impl<A: Label> LabelSet for A {
    fn names() -> Vec<&'static str> {
        vec![A::NAME]
    }
    fn count() -> usize {
        A::VALUES.len()
    }
    fn index(self) -> usize {
        Label::index(self)
    }
    fn values(index: usize) -> Vec<&'static str> {
        A::VALUES.get(index).copied().into_iter().collect()
    }
}

macro_rules! sets {
    ($($first:ident $($rest:ident)*;)*) => {$(
        impl<$first: Label, $($rest: Label),*> LabelSet for ($first, $($rest,)*) {
            fn names() -> Vec<&'static str> {
                vec![$first::NAME, $($rest::NAME),*]
            }
            fn count() -> usize {
                $first::VALUES.len() $(* $rest::VALUES.len())*
            }
            #[allow(non_snake_case)]
            fn index(self) -> usize {
                let ($first, $($rest,)*) = self;
                let index = Label::index($first);
                $(let index = index * $rest::VALUES.len() + Label::index($rest);)*
                index
            }
            fn values(index: usize) -> Vec<&'static str> {
                let all: &[&'static [&'static str]] = &[$first::VALUES, $($rest::VALUES),*];
                let mut rest = index;
                let mut out = Vec::with_capacity(all.len());
                for values in all.iter().rev() {
                    out.extend(values.get(rest % values.len().max(1)));
                    rest /= values.len().max(1);
                }
                out.reverse();
                out
            }
        }
    )*};
}
sets! { A; A B; A B C; }

/// Declares a closed label: `label_enum! { /// Doc. pub enum Name = "label" { Variant = "value", … } }`.
#[macro_export]
macro_rules! label_enum {
    ($(#[$doc:meta])* $vis:vis enum $name:ident = $label:literal { $($(#[$vdoc:meta])* $variant:ident = $value:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        $vis enum $name { $($(#[$vdoc])* $variant),+ }
        impl $name {
            /// All values, in order.
            #[allow(dead_code)]
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
        }
        impl $crate::metrics::Label for $name {
            const NAME: &'static str = $label;
            const VALUES: &'static [&'static str] = &[$($value),+];
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
