//! Man pages and completion scripts, made from the one definition of the command line.

use std::path::Path;

use serde_json::json;

use super::failure::Failure;
use super::{Page, arguments};

/// The completion script of a shell.
pub(super) fn completions(shell: clap_complete::Shell) -> Page {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut arguments::command(), "signpost", &mut script);
    page(&script)
}

/// The man page of signpost, or of the subcommand with these names (`token create`).
pub(super) fn man(names: &[String]) -> Result<Page, Failure> {
    let mut command = arguments::command();
    command.build();
    for name in names {
        let found = command.find_subcommand(name).cloned();
        command = found.ok_or_else(|| Failure::usage(format!("there is no subcommand {}", names.join(" "))))?;
    }
    let mut roff = Vec::new();
    clap_mangen::Man::new(command).render(&mut roff)?;
    Ok(page(&roff))
}

/// Writes every man page into `dir`.
pub(super) fn man_pages(dir: &Path) -> Result<Page, Failure> {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(arguments::command(), dir))
        .map_err(|e| Failure::Input { path: dir.to_owned(), reason: e.to_string() })?;
    Ok(Page::default())
}

fn page(bytes: &[u8]) -> Page {
    let text = String::from_utf8_lossy(bytes).into_owned();
    Page { document: json!({ "text": text }), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_subcommands() {
        use clap::ValueEnum;
        for shell in clap_complete::Shell::value_variants() {
            let script = completions(*shell).text;
            for word in ["undrain", "healthcheck", "explain"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn every_subcommand_has_a_man_page() {
        let folder = tempfile::tempdir().unwrap();
        man_pages(folder.path()).unwrap();
        assert!(man(&[]).unwrap().text.contains("signpost\\-explain(1)"));
        assert!(man(&["token".into(), "create".into()]).unwrap().text.contains(".TH signpost-token-create 1"));
        assert!(man(&["nonsense".into()]).is_err());
        for subcommand in arguments::command().get_subcommands() {
            let file = folder.path().join(format!("signpost-{}.1", subcommand.get_name()));
            assert!(std::fs::read_to_string(&file).unwrap().contains(".SH"), "{}", file.display());
        }
    }
}
