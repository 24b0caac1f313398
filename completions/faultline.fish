# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Completion of faultline(1) for fish.

function __faultline_columns
    faultline status --help 2>/dev/null | awk '/^Columns:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }'
end

function __faultline_jobs
    faultline status -n -r -o job,name 2>/dev/null | string replace ' ' \t
end

set -l none 'not __fish_seen_subcommand_from run status'
set -l run '__fish_seen_subcommand_from run'
set -l status '__fish_seen_subcommand_from status'

complete -c faultline -n $none -f -a run -d 'Run a command within a budget of RAM'
complete -c faultline -n $none -f -a status -d 'Show jobs, what they cost and what they do'
complete -c faultline -f -s h -l help -d 'Show help'
complete -c faultline -f -s V -l version -d 'Show the version'

complete -c faultline -n $run -x -s b -l budget -a '512M 1G 2G 25% 50%' -d 'RAM for the job'
complete -c faultline -n $run -x -l pool-max -a '25% 50%' -d 'Of that, for compressed pages'
complete -c faultline -n $run -r -l swap -a none -d 'File for what does not fit'
complete -c faultline -n $run -x -l prefetch -a '0 16 32 64 128' -d 'Pages to bring in together'
complete -c faultline -n $run -f -l fallback -d 'Run even where memory cannot be managed'
complete -c faultline -n $run -r -l socket -d 'Of the faultlined to use'
complete -c faultline -n $run -f -s v -l verbose -d 'Say what was done'
complete -c faultline -n $run -a '(__fish_complete_subcommand --fcs-skip=2)'

complete -c faultline -n $status -f -a '(__faultline_jobs)'
complete -c faultline -n $status -f -s J -l json -d 'Print JSON'
complete -c faultline -n $status -f -s b -l bytes -d 'Print bytes and nanoseconds'
complete -c faultline -n $status -f -s n -l noheadings -d 'Leave headings out'
complete -c faultline -n $status -x -s o -l output -a '(__fish_append , (__faultline_columns))' -d 'Show these columns'
complete -c faultline -n $status -f -l output-all -d 'Show all columns'
complete -c faultline -n $status -f -s r -l raw -d 'Single spaces between columns'
complete -c faultline -n $status -f -s P -l pairs -d 'Print NAME="value" pairs'
complete -c faultline -n $status -f -l sessions -d 'Show the processes of each job'
complete -c faultline -n $status -r -l socket -d 'Of the faultlined to ask'
