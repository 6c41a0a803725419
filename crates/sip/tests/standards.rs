//! `standards.toml`: every row is whole, and cites a test that exists.

use std::path::Path;

#[test]
fn every_row_cites_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("standards.toml")).unwrap();
    let rows: Vec<&str> = text.split("[[row]]").skip(1).collect();
    assert!(rows.len() > 15);
    for row in rows {
        let field = |name: &str| {
            let line = row.lines().find_map(|l| l.strip_prefix(name)?.trim_start().strip_prefix('='));
            line.unwrap_or_else(|| panic!("no {name} in {row}")).trim().trim_matches('"').to_owned()
        };
        field("rfc").parse::<u32>().unwrap();
        assert!(["proxy", "ua", "both"].contains(&&*field("role")));
        assert!(!field("section").is_empty() && !field("what").is_empty() && !field("status").is_empty());
        let test = field("test");
        let (file, name) = test.split_once("::").unwrap();
        let source = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(source.contains(&format!("fn {name}(")), "{test} does not exist");
    }
}
