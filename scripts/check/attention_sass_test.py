#!/usr/bin/env python3
"""Tests of attention_sass.py on a few lines of machine code: scripts/check/attention_sass_test.py"""

import unittest

import attention_sass as sass

DUMP = """
		Function : _Z7forwardILi128EE
	.headerflags	@"EF_CUDA_TEXMODE_UNIFIED"
        /*0000*/                   LDC R1, c[0x0][0x28] ;                       /* 0x00000a00ff017b82 */
                                                                                /* 0x000fe20000000800 */
        /*0010*/                   MOV R2, R3 ;                                 /* 0x0 */
        /*0020*/                   HMMA.16816.F32.BF16 R4, R8, R12, RZ ;        /* 0x0 */
        /*0030*/                   LDSM.16.M88.4 R4, [R2+0x10] ;                /* 0x0 */
        /*0040*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;        /* 0x0 */
        /*0050*/               @P0 BRA 0x30 ;                                   /* 0x0 */
        /*0060*/                   LDGSTS.E.BYPASS.128 [R9], desc[UR4][R2.64] ; /* 0x0 */
        /*0070*/              @!P1 BRA 0x10 ;                                   /* 0x0 */
        /*0080*/                   STL [R1], R4 ;                               /* 0x0 */
        /*0090*/               @P0 BRA 0xb0 ;                                   /* 0x0 */
        /*00a0*/                   BRA 0xa0;                                    /* 0x0 */
		Function : _Z4otherv
        /*0000*/                   EXIT ;                                       /* 0x0 */
"""
SAID = """
ptxas info    : Compiling entry function '_Z7forwardILi128EE' for 'sm_90a'
ptxas info    : Function properties for _Z7forwardILi128EE
    16 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 239 registers, used 1 barriers
"""
KERNEL = {"threads": 128, "shared_bytes": 100 << 10, "pieces": 1}


class MachineCode(unittest.TestCase):
    def setUp(self):
        self.code = sass.functions(DUMP)["_Z7forwardILi128EE"]

    def test_functions_are_apart(self):
        self.assertEqual(len(self.code), 11)
        self.assertEqual(sass.functions(DUMP)["_Z4otherv"], [(0, "EXIT", "")])

    def test_the_main_loop_is_the_innermost_with_products(self):
        self.assertEqual([one[0] for one in sass.main_loop(self.code)], [0x30, 0x40, 0x50])
        self.assertEqual(sass.main_loop([(0, "EXIT", "")]), [])

    def test_figures(self):
        figures = sass.measure(KERNEL, self.code, **sass.resources(SAID)["_Z7forwardILi128EE"])
        self.assertEqual(figures["instructions"], 3)
        self.assertEqual((figures["matrix"], figures["ldmatrix"], figures["copies"]), (1, 1, 0))
        self.assertEqual((figures["spills"], figures["stack"], figures["registers"]), (1, 16, 239))
        self.assertEqual((figures["blocks"], figures["warps"]), (2, 8))  # by registers and by shared memory

    def test_pieces_divide(self):
        figures = sass.measure({**KERNEL, "pieces": 0.5}, self.code, 239, 0)
        self.assertEqual(figures["instructions"], 6)

    def test_what_is_worse(self):
        good = {"instructions": 3, "matrix": 1, "spills": 0, "stack": 0, "warps": 8}
        self.assertEqual(list(sass.worse("k", good, good)), [])
        self.assertEqual(list(sass.worse("k", good, {**good, "instructions": 2, "warps": 12})), [])
        for figure, value in (("instructions", 4), ("matrix", 2), ("matrix", 0), ("spills", 1), ("stack", 8),
                              ("warps", 4)):
            self.assertEqual(list(sass.worse("k", good, {**good, figure: value})),
                             [f"k: {figure} {value}, committed {good[figure]}"])
        self.assertEqual(len(list(sass.worse("k", {}, good))), 5)

    def test_remarks_of_ptxas(self):
        for line in ("ptxas info : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized",
                     "ptxas info : (C7508) Potential Performance Loss", "'setmaxnreg' ignored; (C7512)"):
            self.assertTrue(sass.REMARK.search(line), line)
        self.assertFalse(sass.REMARK.search(SAID))


if __name__ == "__main__":
    unittest.main()
