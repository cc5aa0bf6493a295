//! `-o`, `--push` and `--load` as one list.

use super::super::args::BuildArgs;

/// The outputs asked for, as texts of `-o`. `--push` makes the image outputs push, or adds one;
/// `--load` adds a docker output without a file (buildx, `build.go`).
pub(super) fn specs(args: &BuildArgs) -> Vec<String> {
    let mut specs = args.output.clone();
    if args.push {
        let mut images = specs
            .iter_mut()
            .filter(|spec| is_type(spec, "image"))
            .peekable();
        let registry = args.output.iter().any(|spec| is_type(spec, "registry"));
        if images.peek().is_none() && !registry {
            specs.push("type=registry".to_owned());
        } else {
            images.for_each(|spec| spec.push_str(",push=true"));
        }
    }
    let is_load = |spec: &String| is_type(spec, "docker") && !has_destination(spec);
    if args.load && !specs.iter().any(is_load) {
        specs.push("type=docker".to_owned());
    }
    specs
}

fn is_type(spec: &str, name: &str) -> bool {
    let typed = |field: &str| field.strip_prefix("type=").map(str::trim) == Some(name);
    spec.split(',')
        .map(|field| field.trim_matches('"'))
        .any(typed)
}

fn has_destination(spec: &str) -> bool {
    let mut fields = spec.split(',').map(|field| field.trim_matches('"'));
    fields.any(|field| field.starts_with("dest="))
}
