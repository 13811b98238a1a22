/*
 * page_assets.h: style and script of the page that render_html.c writes. They are part of the page:
 * nothing is fetched.
 */
#ifndef TB_TOOLS_PAGE_ASSETS_H
#define TB_TOOLS_PAGE_ASSETS_H

extern const char tb_page_style[];
extern const char tb_page_script[];

#endif
