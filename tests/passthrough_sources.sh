#!/bin/sh
# Install the sources that `codegen-lsp eval passthrough` continues: packages of the registries, in 22 languages.
#
#     tests/passthrough_sources.sh FOLDER
#
# Nothing of it belongs into the repository. What is there already is left as it is.
set -eu
target=${1:?usage: passthrough_sources.sh FOLDER}
mkdir -p "$target"
cd "$target"

package() { # NAME@VERSION: a package of npm
    folder=npm-$(echo "$1" | tr '/@' '--')
    [ -e "$folder" ] && return
    mkdir "$folder"
    (cd "$folder" && tar -xzf "$(npm pack --silent "$1" | tail -n 1)" && rm ./*.tgz)
}

debian() { # NAME: a package of Debian
    [ -e "deb-$1" ] && return
    apt-get --quiet download "$1" || return 0
    dpkg -x "$1"_*.deb "deb-$1"
    rm "$1"_*.deb
}

package expo-modules-core        # Kotlin, Swift, TypeScript, TSX
package @capacitor/android       # Java
package @capacitor/ios           # Swift
package @docusaurus/theme-classic # TSX, CSS
package rxjs                     # TypeScript
package bootstrap                # SCSS, CSS, JavaScript
package blueimp-file-upload      # PHP, JavaScript, HTML
package express                  # JavaScript, Markdown
debian golang-github-spf13-cobra-dev # Go, Markdown
debian golang-github-gorilla-mux-dev # Go
debian librust-regex-dev         # Rust
debian librust-serde-dev           # Rust
debian ruby-rack                 # Ruby
debian ruby-sinatra              # Ruby
debian rake                      # Ruby
debian php-symfony-console       # PHP
debian php-twig                  # PHP
debian lua-penlight              # Lua
debian neovim-runtime            # Lua
debian git                       # shell
debian ansible-core              # C#, Python, YAML
debian ansible                   # YAML, Markdown
debian python3-django            # Python, HTML, CSS, JavaScript
package argon2                   # C
package node-addon-api           # C++, Markdown
package @fluentui/react-button   # TypeScript
package html5-boilerplate        # HTML, CSS
