//! Which keys a row has: the string by which `db_redis` is told (`TABLE=entry:COL,…&MAP:COL,…`), read.

use std::str::FromStr;

use crate::record::{Aor, COLUMNS, PARTITION};

/// The keys of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    table: String,
    entry: Vec<String>,
    maps: Vec<(String, Vec<String>)>,
}

/// What Kamailio's documentation gives for `location`.
pub const LOCATION: &str = "location=entry:ruid&usrdom:username,domain&timer:partition,keepalive";

impl Default for Layout {
    fn default() -> Layout {
        let columns = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        Layout {
            table: "location".into(),
            entry: columns(&["ruid"]),
            maps: vec![
                ("usrdom".into(), columns(&["username", "domain"])),
                ("timer".into(), columns(&["partition", "keepalive"])),
            ],
        }
    }
}

impl FromStr for Layout {
    type Err = String;
    fn from_str(text: &str) -> Result<Layout, String> {
        let form = || format!("{text:?} is no key description; it looks like {LOCATION}");
        let (table, rest) = text.split_once('=').ok_or_else(form)?;
        let mut entry = None;
        let mut maps = Vec::new();
        for part in rest.split('&') {
            let (name, columns) = part.split_once(':').ok_or_else(form)?;
            let columns: Vec<String> = columns.split(',').map(str::to_owned).collect();
            if let Some(unknown) = columns.iter().find(|c| !COLUMNS.contains(&c.as_str()) && *c != PARTITION)
            {
                return Err(format!("{unknown:?} is no column of location"));
            }
            // They stand in a script.
            if !is_word(name) {
                return Err(form());
            }
            match name {
                "entry" => entry = Some(columns),
                _ => maps.push((name.to_owned(), columns)),
            }
        }
        let layout = Layout { table: table.to_owned(), entry: entry.ok_or_else(form)?, maps };
        if !is_word(table) {
            return Err(form());
        }
        if layout.entry != ["ruid"] {
            return Err("the entry of location must be ruid".into());
        }
        layout.by_user().map(|_| ()).ok_or("no map of location is by username, or by username and domain")?;
        Ok(layout)
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl Layout {
    /// Name of the table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The maps with their columns.
    pub fn maps(&self) -> &[(String, Vec<String>)] {
        &self.maps
    }

    /// The map that an address of record is found by.
    fn by_user(&self) -> Option<&(String, Vec<String>)> {
        self.maps.iter().find(|(_, columns)| *columns == ["username", "domain"] || *columns == ["username"])
    }

    /// Key of the hash of one row.
    pub fn entry_key(&self, ruid: &[u8]) -> Vec<u8> {
        [self.table.as_bytes(), b":entry::", ruid].concat()
    }

    /// Key of the set of the contacts of an address of record.
    pub fn user_key(&self, aor: &Aor) -> Vec<u8> {
        let Some((name, columns)) = self.by_user() else { return Vec::new() };
        let head = [self.table.as_bytes(), b":", name.as_bytes(), b"::", &aor.username[..]].concat();
        match columns.len() {
            2 => [&head[..], b":", &aor.domain].concat(),
            _ => head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_description() {
        let layout: Layout = LOCATION.parse().unwrap();
        assert_eq!(layout, Layout::default());
        let aor = Aor { username: b"alice".to_vec(), domain: b"carrier.test".to_vec() };
        assert_eq!(layout.user_key(&aor), b"location:usrdom::alice:carrier.test");
        assert_eq!(layout.entry_key(b"uloc-1"), b"location:entry::uloc-1");
        // Without domains (usrloc's use_domain=0).
        let layout: Layout = "loc=entry:ruid&usr:username".parse().unwrap();
        assert_eq!(layout.user_key(&aor), b"loc:usr::alice");
        for wrong in [
            "",
            "location",
            "location=usrdom:username",
            "location=entry:ruid&u:name",
            "location=entry:username",
            "location=entry:ruid&timer:partition",
            "lo'c=entry:ruid&u:username",
            "l=entry:ruid&u'):username",
        ] {
            assert!(wrong.parse::<Layout>().is_err(), "{wrong}");
        }
    }
}
