# SPDX-License-Identifier: Apache-2.0
# Turns the style sheets and the script of a drawing's page into C strings, with the SHA-256 sums by
# which the page's content security policy names them: nothing else can run in it.
# Usage: cmake -DFOLDER=topology -DOUTPUT=draw_page.c -P draw_page.cmake
set(BASE64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

function(hash_of text result) # "sha256-" and base64, as browsers want it
    string(SHA256 hex "${text}")
    set(digits "${hex}00") # 256 bits are 42 digits of base64, 4 bits and a '='
    set(coded "")
    foreach(at RANGE 0 63 3)
        string(SUBSTRING "${digits}" ${at} 3 three)
        math(EXPR high "0x${three} >> 6")
        math(EXPR low "0x${three} & 63")
        string(SUBSTRING "${BASE64}" ${high} 1 first)
        string(SUBSTRING "${BASE64}" ${low} 1 second)
        string(APPEND coded "${first}${second}")
    endforeach()
    string(SUBSTRING "${coded}" 0 43 coded)
    set(${result} "sha256-${coded}=" PARENT_SCOPE)
endfunction()

function(append_string name text)
    string(REPLACE "\\" "\\\\" text "${text}")
    string(REPLACE "\"" "\\\"" text "${text}")
    string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
    file(APPEND ${OUTPUT}.new "const char ${name}[] =\n    \"${text}\";\n")
endfunction()

file(READ ${FOLDER}/draw_svg.css svg_css)
file(READ ${FOLDER}/draw_page.css page_css)
file(READ ${FOLDER}/draw_page.js page_js)
file(WRITE ${OUTPUT}.new "/* Made by draw_page.cmake. */\n#include \"topology/draw_private.h\"\n\n")
append_string(weft_draw_svg_css "${svg_css}")
append_string(weft_draw_page_css "${page_css}")
append_string(weft_draw_page_js "${page_js}")
hash_of("${svg_css}${page_css}" hash)
append_string(weft_draw_page_style_hash "${hash}")
hash_of("${page_js}" hash)
append_string(weft_draw_page_js_hash "${hash}")
file(RENAME ${OUTPUT}.new ${OUTPUT})
