//! The rules as data.

use super::check::{Findings, Pass};
use super::rules;

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// BuildKit's name: `StageNameCasing`.
    pub name: &'static str,
    /// BuildKit's description, one sentence.
    pub description: &'static str,
    /// The page that documents it, if there is one.
    pub url: Option<&'static str>,
    /// Whether it runs only when chosen.
    pub experimental: bool,
    /// Finds what it is about.
    pub check: for<'a> fn(&Pass<'a>, &mut Findings<'a>),
}

/// A stable rule with a page.
macro_rules! rule {
    ($module:ident, $name:literal, $page:literal, $description:literal) => {
        Rule {
            name: $name,
            description: $description,
            url: Some(concat!(
                "https://docs.docker.com/go/dockerfile/rule/",
                $page,
                "/"
            )),
            experimental: false,
            check: rules::$module::check,
        }
    };
}

/// The rule with this name: the code of a finding.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

/// All rules.
pub static RULES: [Rule; 22] = [
    rule!(
        stage_name_casing,
        "StageNameCasing",
        "stage-name-casing",
        "Stage names should be lowercase"
    ),
    rule!(
        from_as_casing,
        "FromAsCasing",
        "from-as-casing",
        "The 'as' keyword should match the case of the 'from' keyword"
    ),
    rule!(
        no_empty_continuation,
        "NoEmptyContinuation",
        "no-empty-continuation",
        "Empty continuation lines will become errors in a future release"
    ),
    rule!(
        consistent_instruction_casing,
        "ConsistentInstructionCasing",
        "consistent-instruction-casing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)"
    ),
    rule!(
        duplicate_stage_name,
        "DuplicateStageName",
        "duplicate-stage-name",
        "Stage names should be unique"
    ),
    rule!(
        reserved_stage_name,
        "ReservedStageName",
        "reserved-stage-name",
        "Reserved words should not be used as stage names"
    ),
    rule!(
        json_args_recommended,
        "JSONArgsRecommended",
        "json-args-recommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals"
    ),
    rule!(
        maintainer_deprecated,
        "MaintainerDeprecated",
        "maintainer-deprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author"
    ),
    rule!(
        undefined_arg_in_from,
        "UndefinedArgInFrom",
        "undefined-arg-in-from",
        "FROM command must use declared ARGs"
    ),
    rule!(
        workdir_relative_path,
        "WorkdirRelativePath",
        "workdir-relative-path",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes"
    ),
    rule!(
        undefined_var,
        "UndefinedVar",
        "undefined-var",
        "Variables should be defined before their use"
    ),
    rule!(
        multiple_instructions_disallowed,
        "MultipleInstructionsDisallowed",
        "multiple-instructions-disallowed",
        "Multiple instructions of the same type should not be used in the same stage"
    ),
    rule!(
        legacy_key_value_format,
        "LegacyKeyValueFormat",
        "legacy-key-value-format",
        "Legacy key/value format with whitespace separator should not be used"
    ),
    Rule {
        name: "InvalidBaseImagePlatform",
        description: "Base image platform does not match expected target platform",
        url: None,
        experimental: false,
        check: rules::invalid_base_image_platform::check,
    },
    rule!(
        redundant_target_platform,
        "RedundantTargetPlatform",
        "redundant-target-platform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior"
    ),
    rule!(
        secrets_used_in_arg_or_env,
        "SecretsUsedInArgOrEnv",
        "secrets-used-in-arg-or-env",
        "Sensitive data should not be used in the ARG or ENV commands"
    ),
    rule!(
        invalid_default_arg_in_from,
        "InvalidDefaultArgInFrom",
        "invalid-default-arg-in-from",
        "Default value for global ARG results in an empty or invalid base image name"
    ),
    rule!(
        from_platform_flag_const_disallowed,
        "FromPlatformFlagConstDisallowed",
        "from-platform-flag-const-disallowed",
        "FROM --platform flag should not use a constant value"
    ),
    rule!(
        copy_ignored_file,
        "CopyIgnoredFile",
        "copy-ignored-file",
        "Attempting to Copy file that is excluded by .dockerignore"
    ),
    Rule {
        experimental: true,
        ..rule!(
            invalid_definition_description,
            "InvalidDefinitionDescription",
            "invalid-definition-description",
            "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment."
        )
    },
    rule!(
        expose_proto_casing,
        "ExposeProtoCasing",
        "expose-proto-casing",
        "Protocol in EXPOSE instruction should be lowercase"
    ),
    rule!(
        expose_invalid_format,
        "ExposeInvalidFormat",
        "expose-invalid-format",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release"
    ),
];
