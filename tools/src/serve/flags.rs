//! Flags of `serve`, made from the table of options.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::settings;
use crate::settings::options::{Kind, OPTIONS, OptionSpec};

/// Arguments of `serve`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  millrace serve
  millrace serve --data-dir /var/lib/millrace --listen-pg 0.0.0.0:5433 --tls require
  millrace serve --config millrace.toml --log debug
  millrace serve --print-settings > millrace.toml

Every option is also a key of the settings file (data_dir = \"…\") and a variable
(MILLRACE_DATA_DIR). Flags win over variables, variables over the file.
MILLRACE_ADMIN_PASSWORD sets the password of `admin` when the database is made.")]
pub struct ServeArgs {
    /// Settings file (TOML).
    #[arg(long, env = "MILLRACE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print the settings in force as a file and leave.
    #[arg(long)]
    pub print_settings: bool,
    /// One flag for each option.
    #[command(flatten)]
    pub flags: OptionFlags,
}

/// Options given as flags: texts by option name.
#[derive(Clone, Debug, Default)]
pub struct OptionFlags(pub BTreeMap<String, String>);

/// Options that have a flag, with its name.
static FLAGS: LazyLock<Vec<(&OptionSpec, String)>> = LazyLock::new(|| {
    let open = OPTIONS.iter().filter(|option| option.kind != Kind::Secret);
    open.map(|option| (option, option.name.replace('_', "-"))).collect()
});

impl Args for OptionFlags {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, (option, flag)| {
            let default = match option.default {
                "" => String::new(),
                default => format!(" [default: {default}]"),
            };
            let mut arg = Arg::new(option.name)
                .long(flag.as_str())
                .help(format!("{}{}{default}", option.meaning, settings::bound(option)))
                .action(ArgAction::Set)
                .value_name(match option.kind {
                    Kind::Text | Kind::Secret => "TEXT",
                    Kind::Path => "PATH",
                    Kind::Address => "ADDRESS",
                    Kind::Choice(_) => "WORD",
                    Kind::Switch => "true|false",
                    Kind::Count => "NUMBER",
                    Kind::Bytes => "BYTES",
                    Kind::Seconds => "SECONDS",
                    Kind::Day => "DAY",
                });
            if option.kind == Kind::Switch {
                arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
            }
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for OptionFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = OptionFlags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (option, _) in FLAGS.iter() {
            if let Some(text) = matches.get_one::<String>(option.name) {
                self.0.insert(option.name.to_owned(), text.clone());
            }
        }
        Ok(())
    }
}
