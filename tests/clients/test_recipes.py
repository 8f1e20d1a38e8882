"""The pages of docs/clients as a whole: none is forgotten, by the index or by the tests."""

import glob
import os
import re
import unittest

import recipe


class Recipes(unittest.TestCase):
    def pages(self):
        names = glob.glob(os.path.join(recipe.PAGES, "*.md"))
        return {os.path.basename(name).removesuffix(".md") for name in names} - {"README"}

    def test_the_index_names_every_page(self):
        with open(os.path.join(recipe.PAGES, "README.md"), encoding="utf-8") as f:
            named = re.findall(r"^\| \[.+?\]\((.+?)\.md\) \|", f.read(), re.M)
        self.assertEqual(sorted(named), sorted(self.pages()))

    def test_every_command_is_run(self):
        followed = {}
        here = os.path.dirname(os.path.realpath(__file__))
        for name in glob.glob(os.path.join(here, "test_*.py")):
            with open(name, encoding="utf-8") as f:
                text = f.read()
            for page in re.findall(r'PAGE = "(.+?)"', text):
                followed[page] = set(re.findall(r'(?:follow|serve|serves)\(\s*"(.+?)"', text))
        for page in self.pages():
            self.assertIn(page, followed, "no test follows that page")
            self.assertLessEqual(set(recipe.scripts(page)), followed[page], f"in {page}.md")

    def test_links_lead_somewhere(self):
        for page in self.pages() | {"README"}:
            with open(os.path.join(recipe.PAGES, page + ".md"), encoding="utf-8") as f:
                links = re.findall(r"\]\(([\w-]*)(?:\.md)?#([\w-]+)\)", f.read())
            for target, anchor in links:
                name = os.path.join(recipe.PAGES, (target or page) + ".md")
                with open(name, encoding="utf-8") as f:
                    titles = re.findall(r"^#+ (.+)$", f.read(), re.M)
                anchors = {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}
                self.assertIn(anchor, anchors, f"{page}.md links to {target}.md")


if __name__ == "__main__":
    unittest.main()
