# fish completion for shmkit: commands, their options, and the names that there are now.

function __shmkit_structures
    set -l current (commandline -ct)
    if string match -q '?*/*' -- $current
        set -l segment (string split -m 1 / -- $current)[1]
        shmkit info --names $segment 2>/dev/null | string replace -r '^' "$segment/"
    else
        shmkit ls --names 2>/dev/null | string replace -r '$' /
    end
end

function __shmkit_options
    set -l words (commandline -opc)
    printf '%s\n' --json --raw --no-color
    shmkit $words[2] --help 2>/dev/null | string match -ra -- '(?<![a-z])--?[a-z][a-z-]*' | sort -u
end

complete -c shmkit -f
complete -c shmkit -n __fish_use_subcommand -a '(shmkit --help | string match -r "^  [a-z]+ .*" | string replace -r "^  ([a-z]+) +" "\$1\t")'
complete -c shmkit -n 'not __fish_use_subcommand; and string match -q -- "-*" (commandline -ct)' -a '(__shmkit_options)'
complete -c shmkit -n '__fish_seen_subcommand_from push pop dump tail get set watch info' -a '(__shmkit_structures)'
complete -c shmkit -n '__fish_seen_subcommand_from record replay' -F -a '(__shmkit_structures)'
complete -c shmkit -n '__fish_seen_subcommand_from ls ps map top stat rm add del label check repair' -a '(shmkit ls --names 2>/dev/null)'
complete -c shmkit -n '__fish_seen_subcommand_from add' -a 'array queue ring pool u32 i32 u64 i64 bool f64'
