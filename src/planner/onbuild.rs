//! ONBUILD triggers that a base image left.

use std::rc::Rc;

use crate::diagnostic::{Diagnostic, Severity};
use crate::failure::Failure;
use crate::parser::{self, ast::Instruction};

use super::resolve::{Entry, Held, Origin};
use super::words::Words;

/// Parses the triggers of the image `name`, in order. Diagnostics show the trigger's own text.
pub(crate) fn of_image(
    name: &str,
    triggers: &[String],
    words: &Words,
) -> Result<Vec<Entry<'static>>, Failure> {
    let mut entries = Vec::with_capacity(triggers.len());
    let mut errors = Vec::new();
    for text in triggers {
        let (file, diagnostics) = parser::parse_trigger(&format!("ONBUILD of {name}"), text);
        let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
        errors.extend(diagnostics.into_iter().filter(is_error));
        let own = Rc::new(words.of_trigger(&file));
        entries.extend(
            file.instructions
                .into_iter()
                .map(|instruction: Instruction| Entry {
                    instruction: Held::Owned(Box::new(instruction)),
                    origin: Origin::ImageTrigger(Rc::clone(&own)),
                }),
        );
    }
    if errors.is_empty() {
        Ok(entries)
    } else {
        Err(Failure::Diagnosed(errors))
    }
}
