//! ONBUILD triggers that a base image left.

use std::borrow::Cow;
use std::sync::Arc;

use crate::diagnostic::Severity;
use crate::failure::Failure;
use crate::parser::{self, ast::Instruction};

use super::resolve::{Entry, Origin};
use super::words::Words;

/// Parses the triggers of the image `name`, in order. Diagnostics show the trigger's own text.
pub(crate) fn of_image(name: &str, triggers: &[String]) -> Result<Vec<Entry<'static>>, Failure> {
    let mut entries = Vec::with_capacity(triggers.len());
    let mut errors = Vec::new();
    for text in triggers {
        let (file, diagnostics) = parser::parse_trigger(&format!("ONBUILD of {name}"), text);
        let is_error =
            |diagnostic: &crate::diagnostic::Diagnostic| diagnostic.severity == Severity::Error;
        errors.extend(diagnostics.into_iter().filter(is_error));
        let words = Arc::new(Words::of(&file));
        entries.extend(
            file.instructions
                .into_iter()
                .map(|instruction: Instruction| Entry {
                    instruction: Cow::Owned(instruction),
                    origin: Origin::ImageTrigger(Arc::clone(&words)),
                }),
        );
    }
    if errors.is_empty() {
        Ok(entries)
    } else {
        Err(Failure::Diagnosed(errors))
    }
}
