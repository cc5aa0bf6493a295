use super::*;

#[test]
fn smoke() {
    let ignore = Ignore::parse("docs\n!docs/keep.md\n**/*.pyc\n").unwrap();
    assert!(ignore.excluded("docs/a"));
    assert!(!ignore.excluded("docs/keep.md"));
    assert!(ignore.excluded("x/y.pyc"));
    assert!(ignore.excluded("y.pyc"));
    assert!(Glob::new("a*/?b").unwrap().matches("axx/cb"));
}
