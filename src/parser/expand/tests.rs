//! Tests of word expansion.

use super::*;

#[test]
fn a_default_stands_in_for_an_unset_variable() {
    let expanded = process_word("a${b:-\"c d\"}e", '\\', &NoVariables).unwrap();
    assert_eq!(expanded.value, "ac de");
    assert!(expanded.unset.contains("b"));
}
