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

sdist() { # NAME==VERSION: the source distribution of a package of PyPI
    [ -e "py-$1" ] && return
    pip download --quiet --no-deps --no-build-isolation --no-binary :all: --dest downloads "$1" || true
    archive=$(find downloads -name '*.tar.gz' | head -n 1)
    [ -n "$archive" ] || return 0
    mkdir "py-$1"
    tar -xzf "$archive" -C "py-$1"
    rm -r downloads
}

package() { # NAME@VERSION: a package of npm
    folder=npm-$(echo "$1" | tr '/@' '--')
    [ -e "$folder" ] && return
    mkdir "$folder"
    (cd "$folder" && tar -xzf "$(npm pack --silent "$1" | tail -n 1)" && rm ./*.tgz)
}

debian() { # NAME: a package of Debian
    [ -e "deb-$1" ] && return
    apt-get download "$1"
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
debian librust-clap-builder-dev  # Rust
debian ruby-rack                 # Ruby
debian ruby-sinatra              # Ruby
debian rake                      # Ruby
debian php-symfony-console       # PHP
debian php-twig                  # PHP
debian lua-penlight              # Lua
debian lua-luaunit               # Lua
debian git                       # shell
sdist pythonnet                  # C#
sdist pybind11                   # C++
sdist zstandard                  # C
sdist django                     # Python, HTML, CSS, JavaScript
sdist ansible-core               # YAML, shell, Python, Makefile
sdist cryptography               # Rust, Python
sdist markdown-it-py             # Markdown, YAML
