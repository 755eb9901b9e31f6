# bash completion for shmkit: commands, their options, and the names that there are now.

_shmkit() {
    local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]-} segment
    # a word with a slash or an equals sign in it is one word
    if declare -F _get_comp_words_by_ref >/dev/null; then
        local words cword
        _get_comp_words_by_ref -n := -w words -i cword 2>/dev/null && {
            current=${words[cword]}
            command=${words[1]-}
        }
    fi
    COMPREPLY=()
    if [[ $COMP_CWORD -eq 1 ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(shmkit --help | sed -n 's/^  \([a-z]*\) .*/\1/p') --help --version" -- "$current")
        return
    fi
    case $current in
    -*)
        mapfile -t COMPREPLY < <(compgen -W "--json --raw --no-color $(shmkit "$command" --help 2>/dev/null |
            grep -o -- '--\?[a-z][a-z-]*' | sort -u)" -- "$current")
        return
        ;;
    esac
    case $command in
    push | pop | dump | tail | get | set | watch | record | replay | info)
        if [[ $current == ?*/* ]]; then
            segment=${current%%/*}
            mapfile -t COMPREPLY < <(compgen -W "$(shmkit info --names "$segment" 2>/dev/null | sed "s|^|$segment/|")" -- "$current")
        else
            compopt -o nospace
            mapfile -t COMPREPLY < <(compgen -S / -W "$(shmkit ls --names 2>/dev/null)" -- "$current")
        fi
        if [[ $command == record || $command == replay ]]; then
            mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
        fi
        ;;
    del)
        if [[ $COMP_CWORD -gt 2 ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$(shmkit info --names "${COMP_WORDS[2]}" 2>/dev/null)" -- "$current")
        else
            mapfile -t COMPREPLY < <(compgen -W "$(shmkit ls --names 2>/dev/null)" -- "$current")
        fi
        ;;
    add)
        if [[ $COMP_CWORD -eq 3 ]]; then
            mapfile -t COMPREPLY < <(compgen -W 'array queue ring pool u32 i32 u64 i64 bool f64' -- "$current")
        else
            mapfile -t COMPREPLY < <(compgen -W "$(shmkit ls --names 2>/dev/null)" -- "$current")
        fi
        ;;
    label)
        if [[ $COMP_CWORD -gt 3 ]]; then
            mapfile -t COMPREPLY < <(compgen -c -- "$current")
        else
            mapfile -t COMPREPLY < <(compgen -W "$(shmkit ls --names 2>/dev/null)" -- "$current")
        fi
        ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W "$(shmkit ls --names 2>/dev/null)" -- "$current")
        ;;
    esac
}

complete -F _shmkit shmkit
